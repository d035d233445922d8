//! Helpers that several test files share.

#![allow(missing_docs, reason = "each says what it is where that is not plain")]

pub mod clib;
pub mod leaks;
pub mod messages;
pub mod methods;
pub mod pools;
pub mod processes;
pub mod program;
pub mod trees;
pub mod watchdog;
