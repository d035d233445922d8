//! Counts to 10,000 in ten child processes, a thousand steps each, and loses none.
//!
//! In Python: `counter = Value('i', 0)`; there, `counter.value += 1` without `counter.get_lock()` loses steps,
//! because another process may change the value between the reading and the writing of it.

#[mp::process_fn]
fn increment(times: u32, counter: mp::Value<i64>) -> Result<(), mp::RemoteError> {
    for _ in 0..times {
        *counter.lock()? += 1;
    }
    Ok(())
}

#[mp::main]
fn main() -> mp::Result<()> {
    let counter = mp::Value::new(0)?;
    let children = (0..10)
        .map(|_| mp::spawn!(increment, 1_000, counter.clone()))
        .collect::<mp::Result<Vec<_>>>()?;
    for child in children {
        child.join()??;
    }
    println!("{}", counter.get()?);
    Ok(())
}
