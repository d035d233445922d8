//! The atomics of the words in `signal.rs`, `event_word.rs`, `condition_word.rs`, `barrier_word.rs` and `pool/item.rs`, which
//! use nothing of the arena: the models in `tests/models` put others in this place.

pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
