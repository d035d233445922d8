//! What it costs to make a shared object and to drop it.
//!
//! `cargo run --release -p multiproc-benches --bin create [FILTER …]`

use std::time::Duration;

use benches::machine::Area;
use benches::rivals::{iceoryx, python};
use benches::{Bench, Cores, Result, repeat};

#[mp::main]
fn main() -> Result {
    let bench = Bench::new("create");
    bench
        .row("make and drop a Lock", Cores::Free)
        .with("mp::Lock", |count| {
            repeat(count, || {
                drop(mp::Lock::new()?);
                Ok(())
            })
        })
        .with("memfd, made and mapped", make_area)
        .with_rival("Python Lock", python("make_lock"))
        .with_rival("Python SharedMemory", python("make_shared_memory"))
        .at_most(Duration::from_nanos(500))
        .run()?;
    bench
        .row("make and drop a Value", Cores::Free)
        .with("mp::Value", |count| {
            repeat(count, || {
                drop(mp::Value::new(7_u64)?);
                Ok(())
            })
        })
        .with("memfd, made and mapped", make_area)
        .with_rival("Python Value", python("make_value"))
        .at_most(Duration::from_nanos(500))
        .run()?;
    bench
        .row("make and drop a Queue", Cores::Free)
        .with("mp::Queue", |count| {
            repeat(count, || {
                drop(mp::Queue::<u64>::new()?);
                Ok(())
            })
        })
        .with("memfd, made and mapped", make_area)
        .with_rival("iceoryx2 node", iceoryx::make_node())
        .with_rival("Python Queue", python("make_queue"))
        .at_most(Duration::from_micros(2))
        .run()
}

/// What an object costs that is a memory of its own, before another process has it.
fn make_area(count: u64) -> Result<Duration> {
    repeat(count, || {
        drop(Area::new(4096)?);
        Ok(())
    })
}
