//! Calls a C function that crashes on some inputs, and loses nothing but those.
//!
//! The function is in `crashing_c.c`. It reads from an address that is none, or calls `abort()`, when it does not like
//! a line; on a thread, either would end this program. In a pool, it ends a worker: the task's error says how, with the
//! last words of the worker, a new worker takes its place, and the other lines are read.
//!
//! This keeps crashes in. It does not keep attackers out: a worker has the rights of its parent.
//!
//! # Safety
//!
//! The declaration below is that of the function in C. What else it asks of its argument, it does not say.

#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_long};

unsafe extern "C" {
    fn setting(line: *const c_char) -> c_long;
}

#[mp::process_fn]
fn read_setting(line: &str) -> Result<i64, mp::RemoteError> {
    let line = CString::new(line)?;
    // SAFETY: the line ends with a zero byte, and lives until the function returns. Lines that it cannot bear end this
    // process, which is there for nothing else.
    Ok(unsafe { setting(line.as_ptr()) })
}

#[mp::main]
fn main() -> mp::Result<()> {
    let lines = [
        "width = 80",
        "wide",
        "height = 24",
        "depth = deep",
        "indent = 4",
    ];

    let pool = mp::Pool::new(2)?;
    for (line, number) in lines.iter().zip(pool.imap::<read_setting>(lines)) {
        match number {
            Ok(number) => println!("{line:?}: {}", number?),
            Err(mp::TaskError::WorkerDied { status, stderr, .. }) => {
                println!("{line:?}: the worker died, {status}");
                for words in stderr.lines() {
                    println!("    its last words: {words}");
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
