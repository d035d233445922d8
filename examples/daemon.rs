//! Leaves two child processes behind at the end of `main`: one is waited for, the daemon is stopped.
//!
//! In Python: `Process(target=tick, daemon=True)`. There as here, the program does not end before its children have
//! ended, and it ends those that are daemons itself.

use std::thread;
use std::time::Duration;

#[mp::process_fn]
fn tick(ticks: mp::Queue<u64>) -> Result<(), mp::RemoteError> {
    for number in 1.. {
        ticks.put(number)?;
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

#[mp::process_fn]
fn work() {
    thread::sleep(Duration::from_millis(200));
    println!("the worker has done its work");
}

#[mp::main]
fn main() -> mp::Result<()> {
    let ticks = mp::Queue::new()?;
    // Nobody keeps the two handles. That is no way to stop a process: it runs on.
    mp::Builder::new()
        .name("ticker")
        .daemon(true)
        .spawn::<tick>(ticks.clone())?;
    for _ in 0..3 {
        println!("tick {}", ticks.get()?);
    }
    println!("main has nothing left to do");
    mp::spawn!(work)?;
    Ok(())
}
