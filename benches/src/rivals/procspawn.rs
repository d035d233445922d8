//! `procspawn`, whose workers are this program too.

use std::time::{Duration, Instant};

use procspawn::Pool;

use crate::machine::{private_memory, stop, until_stopped};
use crate::{Result, Rival, expect, in_batches, keeping, round_trips};

/// A task has four descriptors until its result is there.
const MOST_AT_ONCE: u64 = 500;

/// Runs the worker, if this process is one. To be the first statement of a `main` with `#[mp::main]`: a worker of procspawn
/// is no child of `mp`, so it comes here, and a child of `mp` does not.
pub fn init() {
    procspawn::init();
}

fn square(n: u64) -> u64 {
    n.wrapping_mul(n)
}

fn give_back(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

fn pool(workers: usize) -> Result<Pool> {
    Ok(Pool::new(workers)?)
}

/// Numbers, all submitted before the first result is asked for.
pub fn submit(workers: usize) -> Rival<'static> {
    Ok(keeping(
        move || pool(workers),
        |pool, count| {
            in_batches(count, MOST_AT_ONCE, || {
                let tasks: Vec<_> = (0..MOST_AT_ONCE).map(|n| pool.spawn(n, square)).collect();
                (0..)
                    .zip(tasks)
                    .try_for_each(|(n, task)| expect(task.join()?, n * n))
            })
        },
    ))
}

/// One call after the other, each after a pause.
pub fn apply(workers: usize, pause: Duration) -> Rival<'static> {
    Ok(keeping(
        move || pool(workers),
        move |pool, count| {
            round_trips(count, pause, |n| {
                expect(pool.spawn(n, square).join()?, n * n)
            })
        },
    ))
}

/// Bytes there and back, one call after the other.
pub fn give_and_take(workers: usize, length: usize) -> Rival<'static> {
    Ok(keeping(
        move || pool(workers),
        move |pool, count| {
            let mut bytes = vec![7; length];
            round_trips(count, Duration::ZERO, |_| {
                bytes = pool.spawn(std::mem::take(&mut bytes), give_back).join()?;
                expect(bytes.len(), length)
            })
        },
    ))
}

/// From nothing to the first result.
pub fn start(workers: usize) -> Rival<'static> {
    Ok(Box::new(move |count| {
        let mut elapsed = Duration::ZERO;
        for n in 0..count {
            let begin = Instant::now();
            let pool = pool(workers)?;
            expect(pool.spawn(n, square).join()?, n * n)?;
            elapsed += begin.elapsed();
        }
        Ok(elapsed)
    }))
}

/// A process for one call, so many at once, each with so many bytes.
pub fn processes(at_once: u64, length: usize) -> Rival<'static> {
    let bytes = vec![7; length];
    Ok(Box::new(move |count| {
        in_batches(count, at_once, || {
            let start = |_| procspawn::spawn(bytes.clone(), |bytes: Vec<u8>| bytes.len());
            let processes: Vec<_> = (0..at_once).map(start).collect();
            processes
                .into_iter()
                .try_for_each(|process| expect(process.join()?, length))
        })
    }))
}

/// The private memory of a process that has come to its function.
///
/// # Errors
///
/// When it cannot be started.
pub fn idle() -> Result<u64> {
    let mut process = procspawn::spawn((), |()| stop());
    let pid = process
        .pid()
        .ok_or_else(|| mp::RemoteError::msg("the process has no number"))?;
    let memory = until_stopped(pid).and_then(|()| private_memory(pid));
    process.kill()?;
    memory
}
