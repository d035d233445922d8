//! Shows what a parent learns about the panic of its child.
//!
//! In Python a child that raises an exception prints it and ends with exit code 1, which is all that the parent can
//! see. Here the panic comes back as a value, with its message and its place.

#[mp::process_fn]
fn divide(dividend: i64, divisor: i64) -> i64 {
    dividend / divisor
}

#[mp::main]
fn main() -> mp::Result<()> {
    for divisor in [2, 0] {
        match mp::spawn!(divide, 84, divisor)?.join() {
            Ok(quotient) => println!("the quotient is {quotient}"),
            Err(mp::ProcessError::Panicked(panic)) => {
                let location = panic.location().unwrap_or("an unknown place");
                println!("the child panicked at {location}: {}", panic.message());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
