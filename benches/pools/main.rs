//! Pools of two workers: tiny tasks in each way to call them, one call alone, big arguments and results, the start, and how
//! well tasks are spread.
//!
//! `cargo run --release -p multiproc-benches --bin pools [FILTER …]`
//!
//! The pool of a contender is made at its first turn and lives as long as its row, so that no figure contains a start, except
//! in the row that is about it.

mod balance;
mod bytes;
mod calls;
mod start;

use std::time::Duration;

use benches::rivals::procspawn;
use benches::{Bench, Result, Work, keeping};

/// How many workers every pool has.
const WORKERS: usize = 2;

#[mp::main]
fn main() -> Result {
    procspawn::init();
    if start::is_bare() {
        return Ok(());
    }
    let bench = Bench::new("pool");
    calls::run(&bench)?;
    bytes::run(&bench)?;
    start::run(&bench)?;
    balance::run(&bench)
}

/// What a contender does with a pool.
type Use = fn(&mp::Pool, u64) -> Result<Duration>;

/// A contender that uses a pool of processes.
fn processes<'a>(mut work: impl FnMut(&mp::Pool, u64) -> Result<Duration> + 'a) -> Work<'a> {
    keeping(
        || Ok(mp::Pool::new(WORKERS)?),
        move |pool, count| work(pool, count),
    )
}

/// A contender that uses a pool of threads.
fn threads<'a>(mut work: impl FnMut(&mp::Pool, u64) -> Result<Duration> + 'a) -> Work<'a> {
    keeping(
        || Ok(mp::Pool::threads(WORKERS)?),
        move |pool, count| work(pool, count),
    )
}

/// A contender that uses a pool of rayon.
fn rayon<'a>(mut work: impl FnMut(&rayon::ThreadPool, u64) -> Result<Duration> + 'a) -> Work<'a> {
    let builder = || rayon::ThreadPoolBuilder::new().num_threads(WORKERS);
    keeping(
        move || Ok(builder().build()?),
        move |pool, count| work(pool, count),
    )
}
