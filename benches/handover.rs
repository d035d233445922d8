//! 100 MB of numbers to a worker that waits, and their sum back.
//!
//! `cargo run --release -p multiproc-benches --bin handover [FILTER …]`
//!
//! Each round begins with one hand-over that does not count, so that both sides have the memory mapped that they reuse.
//!
//! # Safety
//!
//! Who has an area by turns: the sender until it names it in a message, the worker until it answers.

#![allow(unsafe_code)]

use std::time::Duration;

use benches::machine::Area;
use benches::rivals::{ipc, python};
use benches::{Bench, Cores, Result, child, expect, repeat, sum};

const NUMBERS: usize = 100_000_000 / size_of::<f64>();
const BYTES: usize = NUMBERS * size_of::<f64>();

#[mp::main]
fn main() -> Result {
    let bench = Bench::new("handover");
    let numbers: Vec<f64> = (0..NUMBERS).map(|n| (n % 1000) as f64).collect();
    by_value(&bench, &numbers)?;
    in_place(&bench, &numbers)?;
    copied(&bench, &numbers)?;
    made_anew(&bench, &numbers)
}

fn by_value(bench: &Bench, numbers: &[f64]) -> Result {
    let owned = numbers.to_vec();
    bench
        .row("100 MB by value", Cores::Free)
        .with("mp::Queue of Vec<f64>", |count| queue(&owned, count))
        .with_rival("ipc-channel of Vec<f64>", ipc::hand_over(numbers))
        .with("area that is there, copied into", |count| {
            area(numbers, Fill::EachTime, count)
        })
        .with_rival("Python Pipe, pickled", python("hand_over_pickled"))
        .at_most(Duration::from_millis(60))
        .run()
}

fn in_place(bench: &Bench, numbers: &[f64]) -> Result {
    bench
        .row("100 MB that is there", Cores::Free)
        .with("mp::Shared", |count| shared(numbers, count))
        .with("mp::Array", |count| array(numbers, Fill::Once, count))
        .with("area mapped by both", |count| {
            area(numbers, Fill::Once, count)
        })
        .with_rival("Python SharedMemory, by name", python("hand_over_by_name"))
        .at_most_times(1.2, "area mapped by both")
        .run()
}

fn copied(bench: &Bench, numbers: &[f64]) -> Result {
    bench
        .row("100 MB copied into what is there", Cores::Free)
        .with("mp::Array", |count| array(numbers, Fill::EachTime, count))
        .with("area mapped by both", |count| {
            area(numbers, Fill::EachTime, count)
        })
        .at_most_times(1.2, "area mapped by both")
        .run()
}

fn made_anew(bench: &Bench, numbers: &[f64]) -> Result {
    bench
        .row("100 MB made, filled and dropped", Cores::Free)
        .with("mp::Shared", |count| shared_anew(numbers, count))
        .with("mp::Array", |count| array_anew(numbers, count))
        .with("area, populated", |count| area_anew(numbers, count))
        // Each gets the memory of the one before it: this is the limit in the same state.
        .with("area that is there, copied into", |count| {
            area(numbers, Fill::EachTime, count)
        })
        .at_most_times(1.2, "area that is there, copied into")
        .run()
}

/// When the sender copies the numbers to where the worker finds them.
#[derive(Clone, Copy, PartialEq)]
enum Fill {
    Once,
    EachTime,
}

#[mp::process_fn]
fn sum_messages(messages: mp::Queue<Vec<f64>>, sums: mp::Queue<f64>) -> Result {
    for numbers in &messages {
        sums.put(sum(&numbers))?;
    }
    Ok(())
}

fn queue(numbers: &Vec<f64>, count: u64) -> Result<Duration> {
    let (messages, sums) = (mp::Queue::new()?, mp::Queue::new()?);
    let worker = child::<sum_messages>((messages.clone(), sums.clone()))?;
    let total = sum(numbers);
    let once = || {
        messages.put_ref(numbers)?;
        expect(sums.get()?, total)
    };
    once()?;
    let elapsed = repeat(count, once)?;
    messages.shutdown()?;
    worker.join()??;
    Ok(elapsed)
}

#[mp::process_fn]
fn sum_arrays(arrays: mp::Queue<mp::Array<f64>>, sums: mp::Queue<f64>) -> Result {
    for array in &arrays {
        let total = sum(&array.lock()?);
        sums.put(total)?;
    }
    Ok(())
}

fn array(numbers: &[f64], fill: Fill, count: u64) -> Result<Duration> {
    let array = mp::Array::from_slice(numbers)?;
    hand_arrays(numbers, count, || {
        if fill == Fill::EachTime {
            array.lock()?.copy_from_slice(numbers);
        }
        Ok(array.clone())
    })
}

fn array_anew(numbers: &[f64], count: u64) -> Result<Duration> {
    hand_arrays(numbers, count, || Ok(mp::Array::from_slice(numbers)?))
}

fn hand_arrays(
    numbers: &[f64],
    count: u64,
    next: impl Fn() -> Result<mp::Array<f64>>,
) -> Result<Duration> {
    let (arrays, sums) = (mp::Queue::new()?, mp::Queue::new()?);
    let worker = child::<sum_arrays>((arrays.clone(), sums.clone()))?;
    let total = sum(numbers);
    let once = || {
        arrays.put(next()?)?;
        expect(sums.get()?, total)
    };
    once()?;
    let elapsed = repeat(count, once)?;
    arrays.shutdown()?;
    worker.join()??;
    Ok(elapsed)
}

#[mp::process_fn]
fn sum_shared(messages: mp::Queue<mp::Shared<[f64]>>, sums: mp::Queue<f64>) -> Result {
    for numbers in &messages {
        sums.put(sum(&numbers))?;
    }
    Ok(())
}

fn shared(numbers: &[f64], count: u64) -> Result<Duration> {
    let shared = mp::Shared::from_slice(numbers)?;
    hand_shared(numbers, count, || Ok(shared.clone()))
}

fn shared_anew(numbers: &[f64], count: u64) -> Result<Duration> {
    hand_shared(numbers, count, || Ok(mp::Shared::from_slice(numbers)?))
}

fn hand_shared(
    numbers: &[f64],
    count: u64,
    next: impl Fn() -> Result<mp::Shared<[f64]>>,
) -> Result<Duration> {
    let (messages, sums) = (mp::Queue::new()?, mp::Queue::new()?);
    let worker = child::<sum_shared>((messages.clone(), sums.clone()))?;
    let total = sum(numbers);
    let once = || {
        messages.put(next()?)?;
        expect(sums.get()?, total)
    };
    once()?;
    let elapsed = repeat(count, once)?;
    messages.shutdown()?;
    worker.join()??;
    Ok(elapsed)
}

/// Maps the area that each message names, or the first for all messages.
#[mp::process_fn]
fn sum_areas(paths: mp::Queue<String>, sums: mp::Queue<f64>, is_one: bool) -> Result {
    let mut mapped: Option<Area> = None;
    for path in &paths {
        let area = match mapped.take() {
            Some(area) if is_one => area,
            _ => Area::open(&path)?,
        };
        // SAFETY: the sender writes again only when it has the sum.
        let total = sum(unsafe { area.numbers() });
        mapped = is_one.then_some(area);
        sums.put(total)?;
    }
    Ok(())
}

fn area(numbers: &[f64], fill: Fill, count: u64) -> Result<Duration> {
    let area = filled(numbers)?;
    hand_areas(numbers, count, true, |paths, sums, total| {
        if fill == Fill::EachTime {
            // SAFETY: the worker reads only between the message and its answer.
            unsafe { area.numbers_mut() }.copy_from_slice(numbers);
        }
        paths.put(area.path().to_owned())?;
        expect(sums.get()?, total)
    })
}

fn area_anew(numbers: &[f64], count: u64) -> Result<Duration> {
    hand_areas(numbers, count, false, |paths, sums, total| {
        let area = filled(numbers)?;
        paths.put(area.path().to_owned())?;
        expect(sums.get()?, total)
    })
}

fn filled(numbers: &[f64]) -> Result<Area> {
    let area = Area::populated(BYTES)?;
    // SAFETY: nobody else knows it yet.
    unsafe { area.numbers_mut() }.copy_from_slice(numbers);
    Ok(area)
}

fn hand_areas(
    numbers: &[f64],
    count: u64,
    is_one: bool,
    once: impl Fn(&mp::Queue<String>, &mp::Queue<f64>, f64) -> Result,
) -> Result<Duration> {
    let (paths, sums) = (mp::Queue::new()?, mp::Queue::new()?);
    let worker = child::<sum_areas>((paths.clone(), sums.clone(), is_one))?;
    let total = sum(numbers);
    once(&paths, &sums, total)?;
    let elapsed = repeat(count, || once(&paths, &sums, total))?;
    paths.shutdown()?;
    worker.join()??;
    Ok(elapsed)
}
