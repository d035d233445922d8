//! How well two workers share tasks: many equal ones, and some that are far from equal.
//!
//! Equal tasks compute, so that two of them on one core take twice as long. Unequal ones are busy until their time is over by
//! the clock, so that the best possible end is known.

use std::hint::black_box;
use std::iter::repeat_n;
use std::time::{Duration, Instant};

use benches::rivals::python;
use benches::{Bench, Cores, Result, Schedule, expect, repeat};
use rayon::prelude::*;

use crate::{WORKERS, processes, rayon, threads};

/// Steps that show how long one takes.
const PROBE: u64 = 1_000_000;

pub fn run(bench: &Bench) -> Result {
    let step = time_of_a_step();
    equal(bench, "map of 2,000 tasks of 10 µs", step, 10e-6, 2000)?;
    equal(bench, "map of 40 tasks of 1 ms", step, 1e-3, 40)?;
    unequal(bench)
}

/// Each step needs the one before it.
#[mp::process_fn]
fn compute(steps: u64) -> u64 {
    (0..steps).fold(1, |x: u64, n| black_box(x.wrapping_mul(n | 1)))
}

/// In seconds, when nothing disturbs.
fn time_of_a_step() -> f64 {
    let times = (0..20).map(|_| {
        let begin = Instant::now();
        black_box(compute(PROBE));
        begin.elapsed()
    });
    times.min().unwrap_or_default().as_secs_f64() / PROBE as f64
}

/// The line of one core is the speed-up, upside down.
fn equal(bench: &Bench, what: &str, step: f64, each: f64, tasks: usize) -> Result {
    let steps = (each / step) as u64;
    let ours = move |pool: &mp::Pool, count| {
        repeat(count, || {
            let results = pool.map::<compute>(repeat_n(steps, tasks))?;
            expect(results.len(), tasks)
        })
    };
    let theirs = move |pool: &rayon::ThreadPool, count| {
        repeat(count, || {
            let items = rayon::iter::repeat_n(steps, tasks).with_max_len(1);
            let results: Vec<u64> = pool.install(|| items.map(compute).collect());
            expect(results.len(), tasks)
        })
    };
    let alone = move |tasks: usize| {
        for _ in 0..tasks {
            black_box(compute(steps));
        }
    };
    bench
        .row(what, Cores::Free)
        .with("mp::Pool", processes(ours))
        .with("mp::Pool::threads", threads(ours))
        .with("rayon, with_max_len(1)", rayon(theirs))
        .with("two threads, half each", move |count| {
            repeat(count, || {
                std::thread::scope(|scope| {
                    (0..WORKERS).for_each(|_| drop(scope.spawn(|| alone(tasks / WORKERS))));
                });
                Ok(())
            })
        })
        .with("one core", move |count| {
            repeat(count, || {
                alone(tasks);
                Ok(())
            })
        })
        .at_least_times(0.97, "rayon, with_max_len(1)")
        .run()
}

/// Is busy until so many microseconds are over.
#[mp::process_fn]
fn busy(micros: u64) {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_micros(micros) {}
}

fn unequal(bench: &Bench) -> Result {
    let many = Schedule::new(repeat_n(Duration::from_micros(100), 1000));
    let long = Duration::from_millis(100);
    let ramp = Schedule::ramp(Duration::from_micros(10), 200);
    for (what, schedule, python) in [
        (
            "100 ms, then 1,000 of 0.1 ms",
            many.clone().with_first(long),
            ["map_long_first", "imap_long_first"],
        ),
        (
            "1,000 of 0.1 ms, then 100 ms",
            many.with_last(long),
            ["map_long_last", "imap_long_last"],
        ),
        (
            "200 tasks of 2 ms down to 10 µs",
            ramp.clone().reversed(),
            ["map_ramp_down", "imap_ramp_down"],
        ),
        (
            "200 tasks of 10 µs up to 2 ms",
            ramp,
            ["map_ramp_up", "imap_ramp_up"],
        ),
    ] {
        makespan(bench, what, &schedule, python)?;
    }
    Ok(())
}

fn makespan(
    bench: &Bench,
    what: &str,
    schedule: &Schedule,
    [python_map, python_imap]: [&'static str; 2],
) -> Result {
    let tasks = &schedule.micros();
    let items = || tasks.iter().copied();
    let map = |pool: &mp::Pool, count| {
        repeat(count, || {
            expect(pool.map::<busy>(items())?.len(), tasks.len())
        })
    };
    let single = |pool: &mp::Pool, count| {
        repeat(count, || {
            let job = pool.job::<busy>().chunk_size(1);
            expect(job.map(items())?.len(), tasks.len())
        })
    };
    let unordered = |pool: &mp::Pool, count| {
        repeat(count, || {
            let done = pool.imap_unordered::<busy>(items());
            expect(done.flatten().count(), tasks.len())
        })
    };
    let theirs = |pool: &rayon::ThreadPool, count| {
        repeat(count, || {
            let tasks = tasks.par_iter().with_max_len(1);
            pool.install(|| tasks.for_each(|&micros| busy(micros)));
            Ok(())
        })
    };
    let computed = |each: Duration| move |count| Ok(each.mul_f64(count as f64));
    bench
        .row(what, Cores::Free)
        .with("mp::Pool", processes(map))
        .with("mp::Pool, chunk_size(1)", processes(single))
        .with("mp::Pool, imap_unordered", processes(unordered))
        .with("mp::Pool::threads", threads(map))
        .with("rayon, with_max_len(1)", rayon(theirs))
        .with_rival("Python Pool", python(python_map))
        .with_rival("Python Pool, imap_unordered", python(python_imap))
        .with(
            "computed: who is free takes the next",
            computed(schedule.one_by_one(WORKERS)),
        )
        .with(
            "computed: less is impossible",
            computed(schedule.least(WORKERS as u32)),
        )
        .at_most_times(1.05, "computed: who is free takes the next")
        .run()
}
