//! What `runtime/src/sync` is to the files that are modelled.

#![allow(dead_code, reason = "the models use a part of each file")]

pub(crate) mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
}

mod wait {
    /// Nobody spins in a model: what is found by looking again is found by looking once, later.
    #[derive(Default)]
    pub(super) struct Patience(());

    impl Patience {
        pub(super) fn wait(&mut self) -> bool {
            false
        }
    }
}

#[path = "../../../../runtime/src/sync/barrier_word.rs"]
mod barrier_word;
#[path = "../../../../runtime/src/sync/condition_word.rs"]
mod condition_word;
#[path = "../../../../runtime/src/sync/event_word.rs"]
mod event_word;
#[path = "../../../../runtime/src/sync/signal.rs"]
mod signal;

mod handover;
mod models;

pub(crate) use models::model;
pub(crate) use signal::Signal;
