//! Starts of processes by each method: of nothing, in small and in large parents, with a megabyte of arguments, a hundred at
//! once; and how much memory an idle child has to itself.
//!
//! `cargo run --release -p multiproc-benches --bin start [--parent MEGABYTES] [FILTER …]`
//!
//! `--parent` is the memory that the large parents touch, 1024 by default. The row of memory compares with the program
//! `empty-program`, which `cargo build --release -p multiproc-benches --bins` builds beside this one.

mod memory;
mod parent;
mod times;

use benches::rivals::procspawn;
use benches::{Bench, Result};

/// What the small parents touch, in megabytes.
const SMALL: usize = 10;

fn main() -> Result {
    // Before the library looks, since the limit is this program without it.
    if parent::was_bare() {
        return Ok(());
    }
    mp::init();
    procspawn::init();
    let (large, filters) = arguments()?;
    let bench = Bench::with_filters("start", filters);
    times::run(&bench, large)?;
    memory::run(&bench)
}

/// The size of large parents in megabytes, and the filters.
fn arguments() -> Result<(usize, Vec<String>)> {
    let mut large = 1024;
    let mut filters = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--parent" {
            let size = arguments.next().and_then(|size| size.parse().ok());
            large =
                size.ok_or_else(|| mp::RemoteError::msg("--parent wants a number of megabytes"))?;
        } else {
            filters.push(argument);
        }
    }
    Ok((large, filters))
}
