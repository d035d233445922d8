//! Arguments and results of a megabyte.

use std::hint::black_box;
use std::iter::repeat_n;
use std::time::Duration;

use benches::rivals::{procspawn, python};
use benches::{Bench, Cores, Result, Work, expect, in_batches, repeat};

use crate::{Use, WORKERS, processes, threads};

const LENGTH: usize = 1 << 20;
/// So many arguments or results belong to one job.
const BATCH: usize = 100;

pub fn run(bench: &Bench) -> Result {
    there_and_back(bench)?;
    there(bench)?;
    back(bench)
}

#[mp::process_fn]
fn give_back(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

#[mp::process_fn]
fn length(bytes: &[u8]) -> usize {
    bytes.len()
}

#[mp::process_fn]
fn length_of_own(bytes: Vec<u8>) -> usize {
    bytes.len()
}

#[mp::process_fn]
fn make(byte: u8) -> Vec<u8> {
    vec![byte; LENGTH]
}

fn there_and_back(bench: &Bench) -> Result {
    let ours: Use = |pool, count| {
        let mut bytes = vec![7; LENGTH];
        repeat(count, || {
            bytes = pool.apply::<give_back>(std::mem::take(&mut bytes))?;
            expect_sevens(&bytes)
        })
    };
    bench
        .row("apply, 1 MiB there and back", Cores::Free)
        .with("mp::Pool", processes(ours))
        .with("mp::Pool::threads", threads(ours))
        .with("the copies alone: two there, two back", copies(4))
        .with_rival("procspawn", procspawn::give_and_take(WORKERS, LENGTH))
        .with_rival("Python Pool", python("apply_bytes"))
        .run()
}

fn there(bench: &Bench) -> Result {
    let borrowed: Use = |pool, count| {
        let bytes = vec![7; LENGTH];
        in_batches(count, BATCH as u64, || {
            let items = repeat_n(&bytes[..], BATCH);
            expect_lengths(pool.imap_unordered::<length>(items))
        })
    };
    let owned: Use = |pool, count| {
        let bytes = vec![7; LENGTH];
        in_batches(count, BATCH as u64, || {
            let items = (0..BATCH).map(|_| bytes.clone());
            expect_lengths(pool.imap_unordered::<length_of_own>(items))
        })
    };
    bench
        .row("imap_unordered, 1 MiB there", Cores::Free)
        .with("mp::Pool, &[u8]", processes(borrowed))
        .with("mp::Pool, Vec<u8>", processes(owned))
        .with("mp::Pool::threads, &[u8]", threads(borrowed))
        .with("the copy alone", copies(1))
        .with_rival("Python Pool", python("imap_arguments"))
        .run()
}

fn back(bench: &Bench) -> Result {
    let ours: Use = |pool, count| {
        in_batches(count, BATCH as u64, || {
            pool.imap_unordered::<make>(repeat_n(7, BATCH))
                .try_for_each(|bytes| expect_sevens(&bytes?))
        })
    };
    bench
        .row("imap_unordered, 1 MiB back", Cores::Free)
        .with("mp::Pool", processes(ours))
        .with("mp::Pool::threads", threads(ours))
        .with("the copies alone: two", copies(2))
        .with_rival("Python Pool", python("imap_results"))
        .run()
}

fn expect_sevens(bytes: &[u8]) -> Result {
    expect((bytes.len(), bytes.last()), (LENGTH, Some(&7)))
}

fn expect_lengths(
    mut lengths: impl Iterator<Item = std::result::Result<usize, mp::TaskError>>,
) -> Result {
    lengths.try_for_each(|length| expect(length?, LENGTH))
}

/// So many copies in one thread, between memory that is there.
fn copies(copies: u64) -> Work<'static> {
    let (from, mut to) = (vec![7_u8; LENGTH], vec![0; LENGTH]);
    Box::new(move |count| -> Result<Duration> {
        repeat(count * copies, || {
            to.copy_from_slice(black_box(&from));
            black_box(&mut to);
            Ok(())
        })
    })
}
