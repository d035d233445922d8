//! Tasks that do nothing worth a call, so that the call is all there is.

use std::time::Duration;

use benches::machine::{Ends, Ring, Waiting, word};
use benches::rivals::{procspawn, python, python_with};
use benches::{
    Bench, Cores, Result, Work, child, expect, in_batches, keeping, round_trips, sampled, time,
};
use crossbeam_channel::{Receiver, Sender};
use rayon::prelude::*;

use crate::{Use, WORKERS, processes, rayon, threads};

/// So many tasks are given out at once.
const BATCH: u64 = 100_000;
/// So long nothing comes before a call to a pool whose workers are to be asleep.
const PAUSE: Duration = Duration::from_millis(3);
/// So many of these calls make a turn.
const CALLS: u64 = 30;
/// How many messages a ring has room for.
const SLOTS: u64 = 1024;

pub fn run(bench: &Bench) -> Result {
    map(bench)?;
    submit(bench)?;
    imap(bench)?;
    apply(bench)?;
    apply_to_sleepers(bench)
}

#[mp::process_fn]
fn square(n: u64) -> u64 {
    n.wrapping_mul(n)
}

fn map(bench: &Bench) -> Result {
    let ours: Use = |pool, count| {
        in_batches(count, BATCH, || {
            let squares = pool.map::<square>(0..BATCH)?;
            expect(squares.last(), Some(&square(BATCH - 1)))
        })
    };
    bench
        .row("map of 100,000 x * x", Cores::Free)
        .with("mp::Pool", processes(ours))
        .with("mp::Pool::threads", threads(ours))
        .with("rayon, with_max_len(1)", rayon(rayon_map))
        .with_rival("Python Pool", python("map_pool"))
        .with_rival("mpire", python_with("mpire", "map_mpire"))
        .at_least_times(0.6, "rayon, with_max_len(1)")
        .at_least_times(5.0, "Python Pool")
        .run()
}

fn rayon_map(pool: &rayon::ThreadPool, count: u64) -> Result<Duration> {
    in_batches(count, BATCH, || {
        // Its ranges of `u64` are not indexed, so that their pieces have no greatest length.
        let numbers = (0..BATCH as usize).into_par_iter().with_max_len(1);
        let squares = numbers.map(|n| square(n as u64));
        let squares: Vec<u64> = pool.install(|| squares.collect());
        expect(squares.last(), Some(&square(BATCH - 1)))
    })
}

fn submit(bench: &Bench) -> Result {
    let ours: Use = |pool, count| {
        in_batches(count, BATCH, || {
            let tasks = (0..BATCH)
                .map(|n| pool.submit::<square>(n))
                .collect::<mp::Result<Vec<_>>>()?;
            (0..)
                .zip(tasks)
                .try_for_each(|(n, task)| expect(task.get()?, square(n)))
        })
    };
    bench
        .row("submit of 100,000 x * x, then get", Cores::Free)
        .with("mp::Pool", processes(ours))
        .with("mp::Pool::threads", threads(ours))
        .with("threads, two crossbeam channels", crossbeam_submit())
        .with("processes, two bare rings each", rings)
        .with_rival("procspawn, 500 at once", procspawn::submit(WORKERS))
        .with_rival("Python ProcessPoolExecutor", python("submit_executor"))
        .with_rival("mpire", python_with("mpire", "submit_mpire"))
        .with_rival("pebble", python_with("pebble", "submit_pebble"))
        .with_rival("loky", python_with("loky", "submit_loky"))
        .at_least(5e6)
        .at_least_times(100.0, "Python ProcessPoolExecutor")
        .run()
}

/// Threads that square what comes through one channel, and answer through another.
struct Crossbeam {
    tasks: Sender<u64>,
    results: Receiver<u64>,
}

impl Crossbeam {
    fn start() -> Self {
        let (tasks, todo) = crossbeam_channel::unbounded();
        let (done, results) = crossbeam_channel::unbounded();
        for _ in 0..WORKERS {
            let (todo, done) = (todo.clone(), done.clone());
            // It ends when nobody has tasks any more.
            std::thread::spawn(move || todo.iter().try_for_each(|n| done.send(square(n))));
        }
        Self { tasks, results }
    }
}

fn crossbeam_submit() -> Work<'static> {
    keeping(
        || Ok(Crossbeam::start()),
        |pool, count| {
            in_batches(count, BATCH, || {
                (0..BATCH).try_for_each(|n| pool.tasks.send(n))?;
                let sum = pool.results.iter().take(BATCH as usize).sum();
                expect(sum, sum_of_squares())
            })
        },
    )
}

fn sum_of_squares() -> u64 {
    (0..BATCH).map(square).sum()
}

#[mp::process_fn]
fn square_ring(tasks: String, results: String, count: u64) -> Result {
    let tasks = Ring::open(&tasks, Ends::Bare, SLOTS, 8)?;
    let results = Ring::open(&results, Ends::Bare, SLOTS, 8)?;
    let mut message = [0; 8];
    for _ in 0..=count {
        tasks.receive(&mut message);
        results.send(&square(u64::from_le_bytes(message)).to_le_bytes());
    }
    Ok(())
}

/// Each worker has a ring of tasks and one of results; both are kept as full as they may be.
fn rings(count: u64) -> Result<Duration> {
    let share = count.div_ceil(WORKERS as u64);
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        let tasks = Ring::new(Ends::Bare, SLOTS, 8)?;
        let results = Ring::new(Ends::Bare, SLOTS, 8)?;
        let paths = (tasks.path().to_owned(), results.path().to_owned());
        let process = child::<square_ring>((paths.0, paths.1, share))?;
        workers.push((tasks, results, process));
    }
    let mut message = [0; 8];
    let mut get = |results: &Ring| {
        results.receive(&mut message);
        u64::from_le_bytes(message)
    };
    for (tasks, results, _) in &workers {
        tasks.send(&3_u64.to_le_bytes());
        expect(get(results), 9)?;
    }
    let elapsed = time(|| {
        for n in 0..share + SLOTS {
            for (tasks, results, _) in &workers {
                if n >= SLOTS {
                    expect(get(results), square(n - SLOTS))?;
                }
                if n < share {
                    tasks.send(&n.to_le_bytes());
                }
            }
        }
        Ok(())
    })?;
    for (_, _, process) in workers {
        process.join()??;
    }
    Ok(elapsed.mul_f64(count as f64 / (share * WORKERS as u64) as f64))
}

fn imap(bench: &Bench) -> Result {
    let unordered: Use = |pool, count| {
        in_batches(count, BATCH, || {
            expect_squares(pool.imap_unordered::<square>(0..BATCH))
        })
    };
    let ordered: Use = |pool, count| {
        in_batches(count, BATCH, || {
            expect_squares(pool.imap::<square>(0..BATCH))
        })
    };
    bench
        .row("imap_unordered of 100,000 x * x", Cores::Free)
        .with("mp::Pool", processes(unordered))
        .with("mp::Pool, imap", processes(ordered))
        .with("mp::Pool::threads", threads(unordered))
        .with("mp::Pool::threads, imap", threads(ordered))
        .with_rival("mpire", python_with("mpire", "imap_mpire"))
        .with_rival("Python Pool", python("imap_pool"))
        .at_least(3e6)
        .run()
}

fn expect_squares(
    squares: impl Iterator<Item = std::result::Result<u64, mp::TaskError>>,
) -> Result {
    let sum = squares.sum::<std::result::Result<u64, _>>()?;
    expect(sum, sum_of_squares())
}

fn apply(bench: &Bench) -> Result {
    for cores in [Cores::Free, Cores::Same] {
        let mut row = calls(bench, "apply of x * x", cores, Duration::ZERO)
            .with("bare word, sched_yield", |count| {
                word(count, Waiting::Yield, Duration::ZERO)
            })
            .with_rival("procspawn", procspawn::apply(WORKERS, Duration::ZERO))
            .with_rival("Python Pool", python("apply_pool"))
            .with_rival("pebble", python_with("pebble", "apply_pebble"))
            .with_rival("loky", python_with("loky", "apply_loky"));
        if cores == Cores::Free {
            row = row.at_most(Duration::from_micros(3));
        }
        row.run()?;
    }
    Ok(())
}

fn apply_to_sleepers(bench: &Bench) -> Result {
    let what = "apply of x * x when all sleep";
    let mut row = calls(bench, what, Cores::Free, PAUSE).with(
        "bare word, futex",
        sampled(CALLS, |count| word(count, Waiting::Futex, PAUSE)),
    );
    for (name, rival) in [
        ("procspawn", procspawn::apply(WORKERS, PAUSE)),
        ("Python Pool", python("apply_pool_asleep")),
    ] {
        row = row.with_rival(name, rival.map(|work| sampled(CALLS, work)));
    }
    row.at_most(Duration::from_micros(60)).run()
}

/// A row of ours and rayon, of calls one after the other.
fn calls<'a>(bench: &Bench, what: &str, cores: Cores, pause: Duration) -> benches::Row<'a> {
    let most = if pause.is_zero() { u64::MAX } else { CALLS };
    let ours = move |pool: &mp::Pool, count| {
        round_trips(count, pause, |n| {
            expect(pool.apply::<square>(n)?, square(n))
        })
    };
    let theirs = move |pool: &rayon::ThreadPool, count| {
        round_trips(count, pause, |n| {
            expect(pool.install(|| square(n)), square(n))
        })
    };
    bench
        .row(what, cores)
        .with("mp::Pool", sampled(most, processes(ours)))
        .with("mp::Pool::threads", sampled(most, threads(ours)))
        .with("rayon, install", sampled(most, rayon(theirs)))
}
