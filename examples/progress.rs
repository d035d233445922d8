//! Counts the prime numbers below half a million in a pool, and shows a progress bar while it does.
//!
//! In Python: `for count in tqdm(pool.imap_unordered(count_primes, parts), total=len(parts))`. Here the iterator knows
//! how many results there will be, so that the bar is one call. It is drawn on standard error if that is a terminal,
//! and not at all otherwise.

use std::ops::Range;

use indicatif::ProgressIterator;

#[mp::process_fn]
fn count_primes(numbers: Range<u32>) -> usize {
    let is_prime = |&number: &u32| {
        let mut factors = (2..).take_while(|factor| factor * factor <= number);
        number >= 2 && !factors.any(|factor| number.is_multiple_of(factor))
    };
    numbers.filter(is_prime).count()
}

#[mp::main]
fn main() -> mp::Result<()> {
    let pool = mp::Pool::new(mp::cpu_count())?;
    let parts = (0..200).map(|part| part * 2_500..(part + 1) * 2_500);

    let mut primes = 0;
    // In the order in which they finish: the bar never waits for a slow part that came first.
    for count in pool.job::<count_primes>().imap_unordered(parts).progress() {
        primes += count?;
    }
    println!("{primes} prime numbers below half a million");
    Ok(())
}
