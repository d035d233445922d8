//! What travels to tasks and back: arguments and results of all types and sizes, and those that cannot.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;

use mp::{Array, Atomic, Fd, Lock, Queue, Shared, TaskError, Value};
use multiproc_tests::pools::{Engine, all, counted, counter, square};
use multiproc_tests::{by_each_way, engines};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

engines! {
    functions_of_one_argument_take_it_bare,
    functions_of_several_arguments_take_tuples,
    functions_without_arguments_take_units,
    a_tuple_may_be_the_only_argument,
    arguments_may_be_borrowed,
    units_and_empty_types_are_results,
    results_of_functions_are_results_and_no_errors,
    large_arguments_and_results,
    arguments_and_results_of_all_sizes,
    arguments_that_cannot_travel_are_errors_in_their_places,
    results_that_cannot_travel_are_errors_in_their_places,
    handles_travel_both_ways,
    tasks_talk_through_handles,
    shared_data_is_not_copied,
    descriptors_travel_both_ways
}

#[mp::process_fn]
fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[mp::process_fn]
fn add_pair(pair: (u64, u64)) -> u64 {
    pair.0 + pair.1
}

#[mp::process_fn]
fn seven() -> u64 {
    7
}

#[mp::process_fn]
fn lengths(text: &str, bytes: &[u8], more: Vec<Option<String>>) -> (usize, usize, usize) {
    (
        text.chars().count(),
        bytes.len(),
        more.into_iter().flatten().map(|text| text.len()).sum(),
    )
}

#[mp::process_fn]
fn upper(text: &str) -> String {
    text.to_uppercase()
}

#[mp::process_fn]
fn swallow(_n: u64) {}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Nothing;

#[mp::process_fn]
fn give_nothing(nothing: Nothing, _unit: ()) -> (Nothing, [u64; 0], ()) {
    (nothing, [], ())
}

#[mp::process_fn]
fn half(n: u64) -> Result<u64, mp::RemoteError> {
    n.is_multiple_of(2)
        .then_some(n / 2)
        .ok_or_else(|| mp::RemoteError::msg(format!("{n} is odd")))
}

#[mp::process_fn]
fn checked_half(n: u64) -> Result<Option<u64>, String> {
    match n {
        9 => Err("too much".to_owned()),
        n => Ok(n.is_multiple_of(2).then_some(n / 2)),
    }
}

#[mp::process_fn]
fn reverse(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.reverse();
    bytes
}

fn functions_of_one_argument_take_it_bare(engine: Engine) {
    by_each_way!(
        engine.pool(2),
        square,
        0..50,
        (0..50).map(|n| n * n).collect::<Vec<u64>>()
    );
    by_each_way!(engine.pool(1), square, [9], vec![81]);
}

fn functions_of_several_arguments_take_tuples(engine: Engine) {
    let items = || (0..50).zip(100..);
    by_each_way!(
        engine.pool(2),
        add,
        items(),
        (0..50).map(|n| 100 + 2 * n).collect::<Vec<u64>>()
    );
}

fn functions_without_arguments_take_units(engine: Engine) {
    by_each_way!(engine.pool(2), seven, [(); 20], vec![7; 20]);
}

fn a_tuple_may_be_the_only_argument(engine: Engine) {
    by_each_way!(engine.pool(2), add_pair, [(1, 2), (3, 4)], vec![3, 7]);
}

fn arguments_may_be_borrowed(engine: Engine) {
    let pool = engine.pool(2);
    // From the stack of this function, which is gone before the pool is.
    let words: Vec<String> = (0..30).map(|n| "é".repeat(n)).collect();
    let items = || {
        words.iter().map(|word| {
            (
                word.as_str(),
                word.as_bytes(),
                vec![None, Some(word.clone())],
            )
        })
    };
    let expected: Vec<_> = (0..30).map(|n| (n, 2 * n, 2 * n)).collect();
    by_each_way!(pool, lengths, items(), expected);
    by_each_way!(
        pool,
        upper,
        ["to", "", "bé"],
        vec!["TO".to_owned(), String::new(), "BÉ".to_owned()]
    );
    drop(words);
    assert_eq!(pool.apply::<upper>("the end").expect("apply"), "THE END");
}

fn units_and_empty_types_are_results(engine: Engine) {
    let pool = engine.pool(2);
    by_each_way!(pool, swallow, 0..300, vec![(); 300]);
    by_each_way!(
        pool,
        give_nothing,
        [(Nothing, ()); 300],
        vec![(Nothing, [], ()); 300]
    );
}

fn results_of_functions_are_results_and_no_errors(engine: Engine) {
    let pool = engine.pool(2);
    let text = |half: Result<u64, mp::RemoteError>| half.map_err(|error| error.to_string());
    let halves: Vec<_> = pool
        .map::<half>(0..4)
        .expect("an `Err` is a value")
        .into_iter()
        .map(text)
        .collect();
    let odd = |n| Err(format!("{n} is odd"));
    assert_eq!(halves, [Ok(0), odd(1), Ok(1), odd(3)]);
    assert_eq!(
        all(pool.imap::<half>(0..4))
            .into_iter()
            .map(text)
            .collect::<Vec<_>>(),
        halves
    );
    by_each_way!(
        pool,
        checked_half,
        [8, 9, 7],
        vec![Ok(Some(4)), Err("too much".to_owned()), Ok(None)]
    );
}

/// Bytes that can be told from others.
fn bytes(length: usize, seed: usize) -> Vec<u8> {
    (0..length)
        .map(|n| (n * 31 + n / 256 + seed * 7) as u8)
        .collect()
}

fn large_arguments_and_results(engine: Engine) {
    let items: Vec<_> = (0..8).map(|n| bytes(1 << 20, n)).collect();
    let reversed: Vec<_> = items.iter().cloned().map(reverse).collect();
    by_each_way!(engine.pool(2), reverse, items.iter().cloned(), reversed);
}

fn arguments_and_results_of_all_sizes(engine: Engine) {
    // Around the sizes at which something may change: words, lines, slots, pages, chunks.
    let mut sizes: Vec<usize> = (0..20)
        .flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1])
        .collect();
    sizes.sort_by_key(|size| size * 7919 % 1000);
    let items: Vec<_> = sizes.iter().map(|&size| bytes(size, size)).collect();
    let reversed: Vec<_> = items.iter().cloned().map(reverse).collect();
    by_each_way!(engine.pool(3), reverse, items.iter().cloned(), reversed);
}

/// Refuses to be written as 13, and to be read as 17.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Picky(u64);

impl Serialize for Picky {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            13 => Err(ser::Error::custom("thirteen is not written")),
            n => n.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Picky {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match u64::deserialize(from)? {
            17 => Err(de::Error::custom("seventeen is not read")),
            n => Ok(Self(n)),
        }
    }
}

#[mp::process_fn]
fn take_picky(picky: Picky) -> u64 {
    picky.0
}

#[mp::process_fn]
fn give_picky(n: u64) -> Picky {
    Picky(n)
}

/// Checks that number `n` came through, or why it did not.
#[track_caller]
fn check_picky(n: u64, result: &Result<u64, TaskError>, function: &str) {
    let said = |message: &String, what: &str| message.contains(what) && message.contains(function);
    match result {
        Ok(value) => assert!(*value == n && n != 13 && n != 17, "{value} for {n}"),
        Err(TaskError::Encode { message, .. }) => assert!(
            n == 13 && said(message, "thirteen is not written"),
            "{n}: {message}"
        ),
        Err(TaskError::Decode { message, .. }) => assert!(
            n == 17 && said(message, "seventeen is not read"),
            "{n}: {message}"
        ),
        Err(other) => panic!("{n}: {other:?}"),
    }
}

fn arguments_that_cannot_travel_are_errors_in_their_places(engine: Engine) {
    let pool = engine.pool(2);
    let items = || (0..40).map(Picky);
    let check = |n, result| check_picky(n, &result, "take_picky");
    let results: Vec<_> = pool.imap::<take_picky>(items()).collect();
    assert_eq!(results.len(), 40);
    (0..).zip(results).for_each(|(n, result)| check(n, result));
    assert_eq!(
        pool.imap_unordered::<take_picky>(items())
            .filter(Result::is_ok)
            .count(),
        38
    );
    for n in 10..20 {
        check(n, pool.apply::<take_picky>(Picky(n)));
        // What cannot be written may be an error of `submit` itself.
        match pool.submit::<take_picky>(Picky(n)) {
            Ok(task) => check(n, task.get()),
            Err(error) => assert!(
                n == 13 && error.to_string().contains("thirteen is not written"),
                "{error}"
            ),
        }
    }
    for bad in [13, 17] {
        let some = || [1, 2, bad, 4].map(Picky);
        check(bad, pool.map::<take_picky>(some()).map(|values| values[2]));
        match pool.map_async::<take_picky>(some()) {
            Ok(task) => check(bad, task.get().map(|values| values[2])),
            Err(error) => assert!(
                bad == 13 && error.to_string().contains("thirteen is not written"),
                "{error}"
            ),
        }
    }
    assert_eq!(pool.stats().died, 0);
}

fn results_that_cannot_travel_are_errors_in_their_places(engine: Engine) {
    let pool = engine.pool(2);
    let check = |n, result: Result<Picky, TaskError>| {
        check_picky(n, &result.map(|picky| picky.0), "give_picky")
    };
    let results: Vec<_> = pool.imap::<give_picky>(0..40).collect();
    assert_eq!(results.len(), 40);
    (0..).zip(results).for_each(|(n, result)| check(n, result));
    assert_eq!(
        pool.imap_unordered::<give_picky>(0..40)
            .filter(Result::is_ok)
            .count(),
        38
    );
    for n in 10..20 {
        check(n, pool.apply::<give_picky>(n));
        check(n, pool.submit::<give_picky>(n).expect("submit").get());
    }
    for bad in [13, 17] {
        check(
            bad,
            pool.map::<give_picky>([1, 2, bad, 4])
                .map(|values| values[2]),
        );
    }
    assert_eq!(pool.stats().died, 0);
}

#[derive(Clone, Serialize, Deserialize)]
struct Set {
    lock: Lock,
    sum: Value<u64>,
    seen: Array<u8>,
    calls: Atomic<u64>,
}

#[mp::process_fn]
fn use_handles(set: Set, n: u64) -> (Queue<u64>, Option<Set>) {
    let _guard = set.lock.lock().expect("nobody dies");
    *set.sum.lock().expect("nobody dies") += n;
    set.seen.lock().expect("nobody dies")[n as usize] += 1;
    set.calls.fetch_add(1, Ordering::SeqCst);
    let queue = Queue::new().expect("making a queue");
    queue.put(n).expect("putting");
    (queue, Some(set.clone()))
}

fn handles_travel_both_ways(engine: Engine) {
    let pool = engine.pool(3);
    let set = Set {
        lock: Lock::new().expect("making a lock"),
        sum: Value::new(0).expect("making a value"),
        seen: Array::zeroed(100).expect("making an array"),
        calls: counter(),
    };
    let items = || (0..100).map(|n| (set.clone(), n));
    let mut results = pool.map::<use_handles>(items()).expect("map");
    results.extend(all(pool.imap::<use_handles>(items())));
    results.extend(all(items().map(|item| pool.apply::<use_handles>(item))));
    for (n, (queue, same)) in (0..300).zip(results) {
        // Also when the worker that made the queue is long gone.
        if n == 200 {
            pool.terminate();
        }
        assert_eq!(queue.get().expect("getting"), n % 100);
        *same.expect("there is one").sum.lock().expect("nobody dies") += 1;
    }
    assert_eq!(set.sum.get().expect("nobody dies"), 3 * 99 * 50 + 300);
    assert_eq!(set.seen.to_vec().expect("nobody dies"), [3; 100]);
    assert_eq!(counted(&set.calls), 300);
}

#[mp::process_fn]
fn produce(queue: Queue<u64>, count: u64) {
    (0..count).for_each(|n| queue.put(n).expect("putting"));
    queue.shutdown().expect("shutting down");
}

#[mp::process_fn]
fn consume(queue: Queue<u64>) -> u64 {
    (&queue).into_iter().sum()
}

fn tasks_talk_through_handles(engine: Engine) {
    let pool = engine.pool(2);
    let queue = Queue::bounded(3).expect("making a queue");
    let sum = pool.submit::<consume>(queue.clone()).expect("submit");
    pool.apply::<produce>((queue, 1000)).expect("apply");
    assert_eq!(sum.get().expect("get"), 999 * 500);
}

#[mp::process_fn]
fn sum_part(data: Shared<[u64]>, from: usize, to: usize) -> u64 {
    data[from..to].iter().sum()
}

fn shared_data_is_not_copied(engine: Engine) {
    let pool = engine.pool(2);
    let data = Shared::from_fn(1 << 20, |n| n as u64).expect("sharing");
    let used = || mp::arena_stats().expect("the arena is there").used;
    let before = used();
    let parts = (0..64).map(|part| (data.clone(), part << 14, (part + 1) << 14));
    let sum: u64 = pool.map::<sum_part>(parts).expect("map").into_iter().sum();
    assert_eq!(sum, ((1 << 20) - 1) * (1 << 19));
    assert!(
        used() < before + (1 << 20),
        "{} more bytes are used",
        used() - before
    );
}

#[mp::process_fn]
fn copy_through(mut from: Fd<UnixStream>) -> Fd<UnixStream> {
    let mut text = String::new();
    from.read_to_string(&mut text).expect("reading");
    let (mut here, there) = UnixStream::pair().expect("making a pair");
    here.write_all(text.as_bytes()).expect("writing");
    there.into()
}

#[mp::process_fn]
fn null(n: u64) -> (Fd<File>, u64) {
    (File::open("/dev/null").expect("opening").into(), n)
}

fn descriptors_travel_both_ways(engine: Engine) {
    let pool = engine.pool(2);
    let items = || {
        (0..40).map(|n| {
            let (mut here, there) = UnixStream::pair().expect("making a pair");
            write!(here, "text {n}").expect("writing");
            Fd::from(there)
        })
    };
    let mut results = pool.map::<copy_through>(items()).expect("map");
    results.extend(all(pool.imap::<copy_through>(items())));
    results.extend(all(items().map(|item| pool.apply::<copy_through>(item))));
    for (n, mut stream) in (0..120).zip(results) {
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("reading");
        assert_eq!(text, format!("text {}", n % 40));
    }
    // Some that nobody reads.
    drop(pool.map_async::<null>(0..20).expect("map_async"));
    let task = pool.submit::<null>(7).expect("submit");
    assert_eq!(pool.imap::<null>(0..20).take(5).count(), 5);
    assert_eq!(task.get().expect("get").1, 7);
    drop((task, pool));
    assert_eq!(mp::__private::waiting_descriptors().expect("counting"), 0);
}
