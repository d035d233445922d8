//! What shared memory costs: locks, queues, objects, between two processes and within one.
//!
//! `cargo run --release -p multiproc-benches --bin memory`
//!
//! Medians of seven rounds, with the fastest and the slowest. Where a rival inside of one process exists in the standard
//! library, it is measured in turns with ours, and the ratio printed.

use std::hint::black_box;
use std::sync::{Mutex, mpsc};
use std::time::Instant;

const ROUNDS: usize = 7;

#[mp::process_fn]
fn produce(queue: mp::Queue<u64>, count: u64) -> Result<(), mp::RemoteError> {
    for item in 0..count {
        queue.put(item)?;
    }
    Ok(())
}

#[mp::process_fn]
fn produce_bytes(
    queue: mp::Queue<Vec<u8>>,
    count: u64,
    length: usize,
) -> Result<(), mp::RemoteError> {
    let item = vec![7; length];
    for _ in 0..count {
        queue.put_ref(&item)?;
    }
    Ok(())
}

#[mp::process_fn]
fn echo(requests: mp::Queue<u64>, replies: mp::Queue<u64>) -> Result<(), mp::RemoteError> {
    for request in &requests {
        replies.put(request)?;
    }
    Ok(())
}

#[mp::process_fn]
fn increment(value: mp::Value<u64>, ready: mp::Event, count: u64) -> Result<(), mp::RemoteError> {
    ready.set();
    for _ in 0..count {
        *value.lock()? += 1;
    }
    Ok(())
}

#[mp::main]
fn main() -> mp::Result<()> {
    println!(
        "{:<44}{:>12}{:>24}{:>14}",
        "one process", "ns each", "(fastest–slowest)", "ratio"
    );
    locks()?;
    objects()?;
    println!(
        "{:<44}{:>12}{:>24}",
        "two processes", "ns each", "(fastest–slowest)"
    );
    contended()?;
    queues()?;
    ping_pong()
}

/// Prints the nanoseconds of one of `count` operations, and their ratio to another figure.
fn report(what: &str, count: u64, mut rounds: Vec<f64>, rival: Option<f64>) -> f64 {
    rounds.sort_by(f64::total_cmp);
    let each = |seconds: f64| seconds * 1e9 / count as f64;
    let median = each(rounds[rounds.len() / 2]);
    let spread = format!(
        "({:.1}–{:.1})",
        each(rounds[0]),
        each(rounds[rounds.len() - 1])
    );
    let ratio = rival
        .map(|rival| format!("{:.2} x", median / rival))
        .unwrap_or_default();
    println!("{what:<44}{median:>12.1}{spread:>24}{ratio:>14}");
    median
}

fn time(work: impl FnOnce() -> mp::Result<()>) -> mp::Result<f64> {
    let begin = Instant::now();
    work()?;
    Ok(begin.elapsed().as_secs_f64())
}

/// Checks what came out.
fn same<T: PartialEq + std::fmt::Debug>(is: T, should_be: T) -> mp::Result<()> {
    assert_eq!(is, should_be);
    Ok(())
}

fn locks() -> mp::Result<()> {
    const COUNT: u64 = 1_000_000;
    let (value, mutex) = (mp::Value::new(0_u64)?, Mutex::new(0_u64));
    let (mut ours, mut std) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        std.push(time(|| {
            for _ in 0..COUNT {
                *black_box(&mutex).lock().expect("nobody panicked") += 1;
            }
            Ok(())
        })?);
        ours.push(time(|| {
            for _ in 0..COUNT {
                *black_box(&value).lock()? += 1;
            }
            Ok(())
        })?);
    }
    let rival = report("std::sync::Mutex lock + unlock", COUNT, std, None);
    report("Value lock + unlock, uncontended", COUNT, ours, Some(rival));
    Ok(())
}

fn objects() -> mp::Result<()> {
    const COUNT: u64 = 20_000;
    let (mut locks, mut values, mut queues) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        locks.push(time(|| {
            (0..COUNT).try_for_each(|_| mp::Lock::new().map(drop))
        })?);
        values.push(time(|| {
            (0..COUNT).try_for_each(|n| mp::Value::new(n).map(drop))
        })?);
        queues.push(time(|| {
            (0..COUNT).try_for_each(|_| mp::Queue::<u64>::new().map(drop))
        })?);
    }
    report("make and drop a Lock", COUNT, locks, None);
    report("make and drop a Value", COUNT, values, None);
    report("make and drop a Queue", COUNT, queues, None);
    Ok(())
}

fn contended() -> mp::Result<()> {
    const COUNT: u64 = 1_000_000;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let (value, ready) = (mp::Value::new(0_u64)?, mp::Event::new()?);
        let other = mp::spawn!(increment, value.clone(), ready.clone(), COUNT)?;
        ready.wait()?;
        rounds.push(time(|| {
            for _ in 0..COUNT {
                *value.lock()? += 1;
            }
            other.join()??;
            Ok(())
        })?);
        assert_eq!(value.get()?, 2 * COUNT);
    }
    report("Value += 1, by both at once", 2 * COUNT, rounds, None);
    Ok(())
}

fn queues() -> mp::Result<()> {
    const COUNT: u64 = 1_000_000;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let queue = mp::Queue::new()?;
        let producer = mp::spawn!(produce, queue.clone(), COUNT)?;
        let first = queue.get()?;
        assert_eq!(first, 0);
        rounds.push(time(|| (1..COUNT).try_for_each(|n| same(queue.get()?, n)))?);
        producer.join()??;
    }
    report("Queue 1 to 1, u64", COUNT, rounds, None);
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let (tx, rx) = mpsc::sync_channel(1024);
        let producer = std::thread::spawn(move || {
            (0..COUNT).for_each(|n| tx.send(n).expect("it is received"))
        });
        rounds.push(time(|| {
            (0..COUNT).try_for_each(|n| same(rx.recv().expect("it is sent"), n))
        })?);
        producer.join().expect("it does not panic");
    }
    report(
        "std mpsc::sync_channel(1024), threads, u64",
        COUNT,
        rounds,
        None,
    );
    for (length, count) in [(1 << 10, 200_000), (64 << 10, 20_000), (1 << 20, 2_000)] {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let queue = mp::Queue::bounded(64)?;
            let producer = mp::spawn!(produce_bytes, queue.clone(), count, length)?;
            queue.get()?;
            rounds.push(time(|| {
                (1..count).try_for_each(|_| same(queue.get()?.len(), length))
            })?);
            producer.join()??;
        }
        report(
            &format!("Queue::bounded(64) 1 to 1, {} KiB", length >> 10),
            count,
            rounds,
            None,
        );
    }
    Ok(())
}

fn ping_pong() -> mp::Result<()> {
    const COUNT: u64 = 50_000;
    let (requests, replies) = (mp::Queue::new()?, mp::Queue::new()?);
    let other = mp::spawn!(echo, requests.clone(), replies.clone())?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(time(|| {
            (0..COUNT).try_for_each(|n| {
                requests.put(n)?;
                same(replies.get()?, n)
            })
        })?);
    }
    report("ping-pong through two Queues, u64", COUNT, rounds, None);
    requests.shutdown()?;
    other.join()??;
    Ok(())
}
