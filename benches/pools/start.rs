//! From no pool to its first result.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use benches::rivals::{procspawn, python, python_with};
use benches::{Bench, Cores, Result, expect, repeat};

use crate::WORKERS;

/// Makes this program exit at once, as the bare child.
const BARE: &str = "--exit-at-once";

/// Whether this process is a bare child.
pub fn is_bare() -> bool {
    std::env::args().nth(1).is_some_and(|first| first == BARE)
}

pub fn run(bench: &Bench) -> Result {
    bench
        .row("start to first result", Cores::Free)
        .with("mp::Pool", |count| first(count, mp::Pool::new))
        .with("mp::Pool::threads", |count| first(count, mp::Pool::threads))
        .with("this program, executed and waited for", bare)
        .with_rival("procspawn", procspawn::start(WORKERS))
        .with_rival("Python Pool, fork", python("start_pool"))
        .with_rival("Python Pool, spawn", python("start_pool_spawn"))
        .with_rival("Python ProcessPoolExecutor", python("start_executor"))
        .with_rival("mpire", python_with("mpire", "start_mpire"))
        .with_rival("pebble", python_with("pebble", "start_pebble"))
        .with_rival("loky", python_with("loky", "start_loky"))
        .at_most_times(1.0 / 1.5, "procspawn")
        .run()
}

#[mp::process_fn]
fn add_one(n: u64) -> u64 {
    n + 1
}

fn first(count: u64, make: impl Fn(usize) -> mp::Result<mp::Pool>) -> Result<Duration> {
    let mut elapsed = Duration::ZERO;
    for n in 0..count {
        let begin = Instant::now();
        let pool = make(WORKERS)?;
        expect(pool.apply::<add_one>(n)?, n + 1)?;
        elapsed += begin.elapsed();
    }
    Ok(elapsed)
}

/// One process; they can start side by side.
fn bare(count: u64) -> Result<Duration> {
    repeat(count, || {
        let mut program = Command::new("/proc/self/exe");
        let status = program.arg(BARE).stdin(Stdio::null()).status()?;
        expect(status.success(), true)
    })
}
