//! Adds numbers in three child processes to one value that all of them share.
//!
//! In Python: `total = Value('d', 0.0)`, and `with total.get_lock(): total.value += x`, where the lock is easily
//! forgotten. Here the lock is the only way to the number, so `+=` without it does not compile.

#[mp::process_fn]
fn add(number: f64, total: mp::Value<f64>) -> Result<(), mp::RemoteError> {
    *total.lock()? += number;
    Ok(())
}

#[mp::main]
fn main() -> mp::Result<()> {
    let total = mp::Value::new(0.0)?;
    let adders = [1.0, 2.0, 3.0].map(|number| mp::spawn!(add, number, total.clone()));
    for adder in adders {
        adder?.join()??;
    }
    println!("{:.1}", total.get()?);
    Ok(())
}
