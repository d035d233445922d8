//! Locks: alone, and two processes that want the same one.
//!
//! `cargo run --release -p multiproc-benches --bin lock [FILTER …]`
//!
//! # Safety
//!
//! The limit lies in an area of its own, and is initialised before another process knows it.

#![allow(unsafe_code)]

use std::hint::black_box;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use benches::machine::{Area, Plain, RobustMutex};
use benches::rivals::python;
use benches::{Bench, Cores, Result, child, expect, repeat, time};

#[mp::main]
fn main() -> Result {
    let bench = Bench::new("lock");
    lock(&bench)?;
    value(&bench)?;
    increments(&bench)
}

fn lock(bench: &Bench) -> Result {
    let (lock, std) = (mp::Lock::new()?, Mutex::new(()));
    let area = Limit::area()?;
    bench
        .row("lock + unlock", Cores::Free)
        .with("mp::Lock", |count| {
            repeat(count, || {
                drop(black_box(&lock).lock()?);
                Ok(())
            })
        })
        .with("robust pthread mutex", |count| {
            let limit: &Limit = area.first();
            repeat(count, || {
                black_box(limit).mutex.with(|| {});
                Ok(())
            })
        })
        .with("std::sync::Mutex", |count| {
            repeat(count, || {
                drop(black_box(&std).lock()?);
                Ok(())
            })
        })
        .with_rival("Python Lock", python("lock"))
        .at_most(Duration::from_nanos(20))
        .at_most_times(1.4, "robust pthread mutex")
        .run()
}

fn value(bench: &Bench) -> Result {
    let (value, std) = (mp::Value::new(0_u64)?, Mutex::new(0_u64));
    let area = Limit::area()?;
    bench
        .row("increment under a lock", Cores::Free)
        .with("mp::Value", |count| {
            repeat(count, || {
                *black_box(&value).lock()? += 1;
                Ok(())
            })
        })
        .with("robust pthread mutex", |count| {
            increment_limit(area.first(), count)
        })
        .with("std::sync::Mutex", |count| {
            repeat(count, || {
                *black_box(&std).lock()? += 1;
                Ok(())
            })
        })
        .with_rival("Python Value", python("value"))
        .at_most(Duration::from_nanos(20))
        .at_most_times(1.4, "robust pthread mutex")
        .run()
}

/// A number and its lock.
#[repr(C)]
struct Limit {
    mutex: RobustMutex,
    number: AtomicU64,
}

// SAFETY: each part is, and there is nothing more.
unsafe impl Plain for Limit {}

impl Limit {
    fn area() -> Result<Area> {
        let area = Area::new(size_of::<Limit>())?;
        // SAFETY: the area is new, and shared.
        unsafe {
            area.first::<Limit>().mutex.init()?;
        }
        Ok(area)
    }
}

fn increment_limit(limit: &Limit, count: u64) -> Result<Duration> {
    repeat(count, || {
        // Under the lock no atomic addition is needed.
        let number = &limit.number;
        limit
            .mutex
            .with(|| number.store(number.load(Relaxed) + 1, Relaxed));
        Ok(())
    })
}

/// Tells that the other process has begun, and that it has finished.
type Signals = (mp::Event, mp::Event);

fn signals() -> Result<Signals> {
    Ok((mp::Event::new()?, mp::Event::new()?))
}

#[mp::process_fn]
fn increment_value(value: mp::Value<u64>, (ready, done): Signals, count: u64) -> Result {
    ready.set();
    for _ in 0..count {
        *value.lock()? += 1;
    }
    done.set();
    Ok(())
}

fn both_value(count: u64) -> Result<Duration> {
    let (value, signals) = (mp::Value::new(0_u64)?, signals()?);
    let other = child::<increment_value>((value.clone(), signals.clone(), count))?;
    signals.0.wait()?;
    let elapsed = time(|| {
        for _ in 0..count {
            *value.lock()? += 1;
        }
        Ok(signals.1.wait()?)
    })?;
    other.join()??;
    expect(value.get()?, 2 * count)?;
    Ok(elapsed / 2)
}

#[mp::process_fn]
fn increment_mutex(path: String, (ready, done): Signals, count: u64) -> Result {
    let area = Area::open(&path)?;
    ready.set();
    increment_limit(area.first(), count)?;
    done.set();
    Ok(())
}

fn both_mutex(count: u64) -> Result<Duration> {
    let (area, signals) = (Limit::area()?, signals()?);
    let other = child::<increment_mutex>((area.path().to_owned(), signals.clone(), count))?;
    signals.0.wait()?;
    let limit: &Limit = area.first();
    let elapsed = time(|| {
        increment_limit(limit, count)?;
        Ok(signals.1.wait()?)
    })?;
    other.join()??;
    expect(limit.number.load(Relaxed), 2 * count)?;
    Ok(elapsed / 2)
}

#[mp::process_fn]
fn increment_shared_atomic(atomic: mp::Atomic<u64>, (ready, done): Signals, count: u64) -> Result {
    ready.set();
    for _ in 0..count {
        atomic.fetch_add(1, Relaxed);
    }
    done.set();
    Ok(())
}

fn both_shared_atomic(count: u64) -> Result<Duration> {
    let (atomic, signals) = (mp::Atomic::new(0_u64)?, signals()?);
    let other = child::<increment_shared_atomic>((atomic.clone(), signals.clone(), count))?;
    signals.0.wait()?;
    let elapsed = time(|| {
        for _ in 0..count {
            atomic.fetch_add(1, Relaxed);
        }
        Ok(signals.1.wait()?)
    })?;
    other.join()??;
    expect(atomic.load(Relaxed), 2 * count)?;
    Ok(elapsed / 2)
}

#[mp::process_fn]
fn increment_atomic(path: String, (ready, done): Signals, count: u64) -> Result {
    let area = Area::open(&path)?;
    let number: &AtomicU64 = area.first();
    ready.set();
    for _ in 0..count {
        number.fetch_add(1, Relaxed);
    }
    done.set();
    Ok(())
}

fn both_atomic(count: u64) -> Result<Duration> {
    let (area, signals) = (Area::new(size_of::<AtomicU64>())?, signals()?);
    let other = child::<increment_atomic>((area.path().to_owned(), signals.clone(), count))?;
    signals.0.wait()?;
    let number: &AtomicU64 = area.first();
    let elapsed = time(|| {
        for _ in 0..count {
            number.fetch_add(1, Relaxed);
        }
        Ok(signals.1.wait()?)
    })?;
    other.join()??;
    expect(number.load(Relaxed), 2 * count)?;
    Ok(elapsed / 2)
}

/// Each figure is for one increment of either process.
fn increments(bench: &Bench) -> Result {
    bench
        .row("two processes increment", Cores::Free)
        .with("mp::Value", both_value)
        .with("robust pthread mutex", both_mutex)
        .with_rival("Python Value", python("contended"))
        .at_least(14e6)
        .run()?;
    bench
        .row("two processes increment an atomic", Cores::Free)
        .with("mp::Atomic", both_shared_atomic)
        .with("atomic in an area", both_atomic)
        .at_least_times(0.9, "atomic in an area")
        .run()
}
