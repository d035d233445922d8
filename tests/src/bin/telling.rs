//! A program whose pool's workers say many things at the same time: `telling WORKERS LINES`.

use std::env;

/// Says as many lines, each of which tells who says it.
#[mp::process_fn]
fn tell(who: usize, lines: usize, together: mp::Barrier) {
    together.wait().expect("nobody breaks it");
    for line in 0..lines {
        eprintln!("{who} says {line} {}", "x".repeat(line));
    }
    // Where nobody else can speak into it, a last word without an end.
    if together.parties() == 1 {
        eprint!("the end");
    }
}

#[mp::main]
fn main() -> mp::Result<()> {
    let mut numbers = env::args()
        .skip(1)
        .map(|word| word.parse().expect("a number"));
    let (workers, lines) = (
        numbers.next().expect("workers"),
        numbers.next().expect("lines"),
    );
    let pool = mp::Pool::new(workers)?;
    let together = mp::Barrier::new(workers)?;
    pool.map::<tell>((0..workers).map(|who| (who, lines, together.clone())))?;
    pool.close();
    pool.join()
}
