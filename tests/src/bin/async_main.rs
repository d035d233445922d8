//! A program whose `main` is `async`.

use std::{process, thread};

/// Returns its process, its thread, and whether a runtime is there.
#[mp::process_fn]
fn look() -> (u32, Option<String>, bool) {
    let thread = thread::current().name().map(str::to_owned);
    (
        process::id(),
        thread,
        tokio::runtime::Handle::try_current().is_ok(),
    )
}

#[mp::main]
#[tokio::main]
async fn main() -> mp::Result<()> {
    let child = mp::spawn!(look)?;
    let joined = tokio::task::spawn_blocking(|| (child.id(), child.join()));
    let (id, result) = joined.await.expect("joining does not panic");
    let (pid, thread, runtime) = result?;
    assert_eq!(pid, id);
    println!("thread {thread:?}, runtime {runtime}");
    Ok(())
}
