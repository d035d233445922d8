//! Does two things with the same list at the same time, in two child processes.
//!
//! In Python a function's return value is lost with its process, and both results would come back through a queue.
//! Here `join` gives the return value, of the type that the function has.

#[mp::process_fn]
fn squares(numbers: Vec<i64>) -> Vec<i64> {
    numbers.into_iter().map(|number| number * number).collect()
}

#[mp::process_fn]
fn evens(numbers: Vec<i64>) -> Vec<i64> {
    numbers
        .into_iter()
        .filter(|number| number % 2 == 0)
        .collect()
}

#[mp::main]
fn main() -> mp::Result<()> {
    let numbers: Vec<i64> = (1..=10).collect();
    let squaring = mp::spawn!(squares, numbers.clone())?;
    let sifting = mp::spawn!(evens, numbers)?;
    println!("squares: {:?}", squaring.join()?);
    println!("evens: {:?}", sifting.join()?);
    Ok(())
}
