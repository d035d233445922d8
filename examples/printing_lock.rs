//! Keeps what ten child processes print from getting mixed up, with a lock.
//!
//! In Python: `with lock: print(…)`. Here the guard that `lock` returns stands for the `with` block; the lock is
//! released when the guard goes out of scope, and when the process that holds it dies.

use std::io::{self, Write};
use std::thread;

#[mp::process_fn]
fn print_line(number: u32, lock: mp::Lock) -> Result<(), mp::RemoteError> {
    let _guard = lock.lock()?;
    print!("child {number} begins this line");
    io::stdout().flush()?;
    thread::yield_now(); // Everyone else may run now, but only this process may print.
    println!(" and child {number} ends it");
    Ok(())
}

#[mp::main]
fn main() -> mp::Result<()> {
    let lock = mp::Lock::new()?;
    let children = (0..10)
        .map(|number| mp::spawn!(print_line, number, lock.clone()))
        .collect::<mp::Result<Vec<_>>>()?;
    for child in children {
        child.join()??;
    }
    Ok(())
}
