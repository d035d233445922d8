//! Models of the words that processes sleep at and wake each other by, and of those by which a pool's workers share tasks.
//!
//! The files of the library themselves are compiled here, with loom's atomics and a futex made of loom's parts. loom runs
//! each model in every order of events that the memory model allows, up to a number of preemptions (2, or
//! `LOOM_MAX_PREEMPTIONS`), and reports a thread that sleeps for ever: here nobody looks by itself after a second, as sleepers
//! of the library do, so that a wake-up that is lost is found.

#![cfg(test)]

mod kill_point;
mod pool;
mod sync;
mod sys;
