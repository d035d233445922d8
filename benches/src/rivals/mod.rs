//! The others.

pub mod iceoryx;
pub mod ipc;
pub mod procspawn;
mod python;

pub use python::{python, python_memory, python_of, python_with, version as python_version};
