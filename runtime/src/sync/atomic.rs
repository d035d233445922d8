//! The atomics of the words in `signal.rs`, `condition_word.rs` and `barrier_word.rs`, which use nothing of the arena: a
//! model of them takes its own atomics from here.

pub(super) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
