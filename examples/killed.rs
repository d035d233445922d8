//! Shows what a parent learns about a child process that a signal has killed.
//!
//! In Python: `p.terminate()`, after which `p.exitcode` is `-15`, the negative number of the signal. Here `join` has
//! no value to return, and its error says which signal it was.

use std::thread;
use std::time::Duration;

#[mp::process_fn]
fn sleep(asleep: mp::Event) {
    asleep.set();
    thread::sleep(Duration::from_secs(3600));
}

#[mp::main]
fn main() -> mp::Result<()> {
    let asleep = mp::Event::new()?;
    let child = mp::spawn!(sleep, asleep.clone())?;
    asleep.wait()?;
    child.terminate()?;
    match child.join() {
        Err(mp::ProcessError::Signaled { signal, .. }) => println!("killed by signal {signal}"),
        Err(error) => return Err(error.into()),
        Ok(()) => println!("not killed"),
    }
    Ok(())
}
