//! The others.

pub mod iceoryx;
pub mod ipc;
mod python;

pub use python::{python, version as python_version};
