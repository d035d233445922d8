//! The atomics of the words in `signal.rs`, `event_word.rs`, `condition_word.rs` and `barrier_word.rs`, which use nothing of the
//! arena: the models in `tests/models` put others in this place.

pub(super) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
