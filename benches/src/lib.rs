//! What the benches have in common: rows of contenders that are measured in turns, the limits of the machine, and the
//! rivals.
//!
//! How to run them and how to read them is in `README.md` beside this crate.
//!
//! | module | what lives there |
//! |---|---|
//! | [`table`] | a row: its contenders, rounds, medians, ratios and targets |
//! | [`cores`] | whether the processes of a row share a core |
//! | [`machine`] | what the machine can do, written by hand: bare mutex, ring, word and area between two processes |
//! | [`rivals`] | ipc-channel, iceoryx2, procspawn and Python; crossbeam, rayon and the standard library stand in the rows |
//! | [`schedule`] | how long tasks of known lengths have to take |
//!
//! # Safety
//!
//! The limits of the machine are calls of the C library and memory that two processes write, so they are `unsafe`; each
//! block says what it relies on.

#![allow(unsafe_code)]

pub mod cores;
pub mod machine;
pub mod rivals;
pub mod schedule;
pub mod table;

use std::time::{Duration, Instant};

pub use cores::Cores;
pub use schedule::Schedule;
pub use table::{Bench, Row};

/// What a measurement gives: any error ends the bench.
pub type Result<T = ()> = std::result::Result<T, mp::RemoteError>;

/// One contender's work: does so many operations, and tells how long they took.
pub type Work<'a> = Box<dyn FnMut(u64) -> Result<Duration> + 'a>;

/// A rival's work, or why it cannot be measured here.
pub type Rival<'a> = std::result::Result<Work<'a>, &'static str>;

/// Tells how long `work` takes.
///
/// # Errors
///
/// That of the work.
pub fn time(work: impl FnOnce() -> Result) -> Result<Duration> {
    let begin = Instant::now();
    work()?;
    Ok(begin.elapsed())
}

/// Times `count` times the same.
///
/// # Errors
///
/// That of the work.
pub fn repeat(count: u64, mut work: impl FnMut() -> Result) -> Result<Duration> {
    time(|| (0..count).try_for_each(|_| work()))
}

/// Adds up `count` round trips, each after a pause that does not count.
///
/// # Errors
///
/// That of a round trip.
pub fn round_trips(
    count: u64,
    pause: Duration,
    mut once: impl FnMut(u64) -> Result,
) -> Result<Duration> {
    if pause.is_zero() {
        return time(|| (0..count).try_for_each(once));
    }
    let mut elapsed = Duration::ZERO;
    for n in 0..count {
        std::thread::sleep(pause);
        let begin = Instant::now();
        once(n)?;
        elapsed += begin.elapsed();
    }
    Ok(elapsed)
}

/// Does at least `count` operations, in whole batches of `size`, and tells how long `count` of them took.
///
/// # Errors
///
/// That of a batch.
pub fn in_batches(count: u64, size: u64, mut batch: impl FnMut() -> Result) -> Result<Duration> {
    let batches = count.div_ceil(size);
    let elapsed = repeat(batches, &mut batch)?;
    Ok(elapsed.mul_f64(count as f64 / (batches * size) as f64))
}

/// Does at most `most` operations, and tells how long `count` of them would take: for those with long pauses.
pub fn sampled<'a>(most: u64, mut work: impl FnMut(u64) -> Result<Duration> + 'a) -> Work<'a> {
    Box::new(move |count| {
        let some = count.min(most);
        Ok(work(some)?.mul_f64(count as f64 / some as f64))
    })
}

/// Makes what a contender works with at its first turn, where the row has pinned its processes, and keeps it as long as the
/// row lives.
pub fn keeping<'a, T: 'a>(
    make: impl Fn() -> Result<T> + 'a,
    mut work: impl FnMut(&mut T, u64) -> Result<Duration> + 'a,
) -> Work<'a> {
    let mut kept = None;
    Box::new(move |count| {
        let kept = match &mut kept {
            Some(kept) => kept,
            none => none.insert(make()?),
        };
        work(kept, count)
    })
}

/// Fails when what came out is not what should have.
///
/// # Errors
///
/// When the two differ.
pub fn expect<T: PartialEq + std::fmt::Debug>(is: T, should_be: T) -> Result {
    if is == should_be {
        return Ok(());
    }
    Err(mp::RemoteError::msg(format!(
        "{should_be:?} was expected and {is:?} came: what was measured does not work"
    )))
}

/// Starts a process that dies with this one, however this one ends: a bench that fails leaves nobody behind who waits or
/// spins.
///
/// # Errors
///
/// When it cannot be started.
pub fn child<F: mp::ProcessFn>(args: F::Args<'_>) -> mp::Result<mp::Process<F::Output>> {
    mp::Builder::new().daemon(true).spawn::<F>(args)
}

/// Adds numbers at the speed of memory: in sixteen sums, since one would wait for each addition.
pub fn sum(numbers: &[f64]) -> f64 {
    let mut sums = [0.0; 16];
    let (rows, rest) = numbers.as_chunks::<16>();
    for row in rows {
        for (sum, number) in sums.iter_mut().zip(row) {
            *sum += number;
        }
    }
    sums.iter().chain(rest).sum()
}

#[cfg(test)]
mod tests;
