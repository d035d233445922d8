//! Gives work to a pool of processes in the three usual ways, and shows what becomes of a task that fails.
//!
//! In Python: `with Pool(4) as pool:`, then `pool.map(square, range(1, 11))`, `pool.imap(divide, …)` and
//! `pool.apply_async(square, (12,))`. There, `imap` passes one argument only, and a worker that is killed takes its
//! task with it, so that the program waits for ever. Here each task gives a value or an error.

#[mp::process_fn]
fn square(number: u64) -> u64 {
    number * number
}

#[mp::process_fn]
fn divide(dividend: i64, divisor: i64) -> i64 {
    dividend / divisor
}

#[mp::main]
fn main() -> mp::Result<()> {
    // Four processes, which are gone when the pool is dropped.
    let pool = mp::Pool::new(4)?;

    // The whole list at once, in its order. The first error ends it and is returned.
    let squares = pool.map::<square>(1..=10)?;
    println!("squares: {squares:?}");

    // One by one, in order, while later ones are worked on. An error is that task's alone.
    for quotient in pool.imap::<divide>([(84, 2), (84, 0), (84, 4)]) {
        match quotient {
            Ok(quotient) => println!("the quotient is {quotient}"),
            Err(mp::TaskError::Panicked(panic)) => println!("no quotient: {}", panic.message()),
            Err(error) => return Err(error.into()),
        }
    }

    // A single task, while this process does something else.
    let task = pool.submit::<square>(12)?;
    println!("the task is in the pool");
    println!("its value is {}", task.get()?);
    Ok(())
}
