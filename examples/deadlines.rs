//! Gives each task five seconds. What is not done by then is killed; the other tasks do not notice.
//!
//! In Python, `pool.apply_async(…).get(timeout=2)` stops to wait, but the task runs on and keeps its worker. Here its
//! process is killed, which ends code that never looks at a clock, and a new worker takes the place.

use std::time::Duration;

/// Tries one factor after the other: quick for most numbers, and for large primes longer than anybody waits.
#[mp::process_fn]
fn smallest_factor(number: u128) -> u128 {
    (2..)
        .take_while(|factor| factor * factor <= number)
        .find(|&factor| number.is_multiple_of(factor))
        .unwrap_or(number)
}

#[mp::main]
fn main() -> mp::Result<()> {
    let numbers = [91, (1 << 127) - 1, 7_919, (1 << 107) - 1, 1_000_001];

    let pool = mp::Pool::new(4)?;
    let factors = pool
        .job::<smallest_factor>()
        .timeout(Duration::from_secs(5))
        .imap(numbers);
    for (number, factor) in numbers.iter().zip(factors) {
        match factor {
            Ok(factor) => println!("{number}: {factor}"),
            Err(mp::TaskError::TimedOut { after, .. }) => {
                println!("{number}: not within {after:?}")
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
