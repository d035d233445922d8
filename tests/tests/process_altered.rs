//! Handles whose bytes were altered.

use std::fmt::Debug;
use std::time::{SystemTime, UNIX_EPOCH};

use mp::{ProcessError, Ran};
use multiproc_tests::leaks::alone;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Is encoded as two numbers, as a handle is, or as what it holds; decoded as an `R`.
enum Altered<S, R> {
    Numbers(u64, u64),
    Sent(S),
    Received(R),
}

impl<S: Serialize, R> Serialize for Altered<S, R> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        match self {
            Self::Numbers(place, serial) => (place, serial).serialize(serializer),
            Self::Sent(handle) => handle.serialize(serializer),
            Self::Received(_) => unreachable!("it has arrived"),
        }
    }
}

impl<'de, S, R: Deserialize<'de>> Deserialize<'de> for Altered<S, R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        R::deserialize(deserializer).map(Self::Received)
    }
}

/// A handle as its numbers.
fn numbers<H: Serialize>(handle: H) -> (u64, u64) {
    let queue = mp::Queue::<Altered<H, (u64, u64)>>::new().unwrap();
    queue
        .put(Altered::Sent(handle))
        .unwrap_or_else(|_| unreachable!("it is encoded"));
    match queue.get() {
        Ok(Altered::Received(numbers)) => numbers,
        _ => unreachable!("they are two numbers"),
    }
}

/// Functions that take a handle, and use it: `None` if it was not received.
macro_rules! takers {
    ($($taker:ident($handle:ty) |$argument:ident| $use_it:expr;)*) => { $(
        #[mp::process_fn]
        fn $taker(queue: Altered<(), $handle>) -> String {
            let Altered::Received($argument) = queue else { unreachable!("it was decoded") };
            $use_it
        }
    )* };
}

takers! {
    take_numbers(mp::Queue<u32>) |queue| format!("{:?}", queue.try_get());
    take_strings(mp::Queue<String>) |queue| format!("{:?}", queue.try_get());
    take_lock(mp::Lock) |lock| format!("{:?}", lock.try_lock().is_ok());
    take_value(mp::Value<u64>) |value| format!("{:?}", value.get());
    take_array(mp::Array<u64>) |array| format!("{:?}", array.to_vec());
    take_event(mp::Event) |event| format!("{}", event.is_set());
}

fn send_numbers(place: u64, serial: u64) -> Result<String, ProcessError> {
    mp::spawn!(take_numbers, Altered::Numbers(place, serial))
        .unwrap()
        .join()
}

/// Checks that the child said that the handle is none, before its function ran.
#[track_caller]
fn is_refused(result: Result<String, ProcessError>, what: impl Debug) -> String {
    let error = result.expect_err(&format!("{what:?} is no such handle"));
    assert!(
        matches!(error, ProcessError::Decode { .. }),
        "{what:?}: {error:?}"
    );
    assert_eq!(error.ran(), Ran::No, "{what:?}: {error}");
    let text = error.to_string();
    assert!(
        text.contains("argument `queue` of `process_altered::take_"),
        "{text}"
    );
    text
}

#[mp::test]
fn genuine_numbers_are_handles() {
    alone(|| {
        let queue = mp::Queue::<u32>::new().unwrap();
        queue.put(7).unwrap();
        let (place, serial) = numbers(queue.clone());
        assert_eq!(send_numbers(place, serial).unwrap(), "Ok(7)");
        let text = is_refused(send_numbers(place, serial + 1), "another number");
        assert!(
            text.contains("a Queue does not name a living object"),
            "{text}"
        );
    });
}

#[mp::test]
fn near_misses_are_no_handles() {
    alone(|| {
        let queue = mp::Queue::<u32>::new().unwrap();
        let (place, serial) = numbers(queue.clone());
        let (lock, value) = (mp::Lock::new().unwrap(), mp::Value::new(1_u64).unwrap());
        let array = mp::Array::<u64>::zeroed(100).unwrap();
        let event = mp::Event::new().unwrap();
        let other = mp::Queue::<u32>::new().unwrap();
        let others = [
            numbers(lock.clone()),
            numbers(value.clone()),
            numbers(array.clone()),
            numbers(event.clone()),
        ];
        let gone = numbers(mp::Queue::<u32>::new().unwrap());
        let stats = mp::arena_stats().unwrap();

        let mut cases = vec![gone, (gone.0, gone.1 + 1), (0, 0), (0, serial), (place, 0)];
        cases.extend(others);
        for step in [1, 2, 8, 16, 32, 48, 64, 128, 4096] {
            cases.extend([(place + step, serial), (place.wrapping_sub(step), serial)]);
        }
        for step in [1, 2, 16, 1 << 32] {
            cases.extend([(place, serial + step), (place, serial.wrapping_sub(step))]);
        }
        // Each object's place with each other one's serial number.
        let genuine = [numbers(queue.clone()), numbers(other.clone())];
        let all: Vec<_> = others.into_iter().chain(genuine).chain([gone]).collect();
        for (place, _) in &all {
            cases.extend(all.iter().map(|(_, serial)| (*place, *serial)));
        }
        cases.extend([
            (serial, place),
            (u64::MAX, u64::MAX),
            (u64::MAX - 47, serial),
        ]);
        let end = stats.capacity;
        cases.extend(
            [
                end,
                end - 8,
                end - 48,
                end - 64,
                end.next_multiple_of(1 << 24),
            ]
            .map(|end| (end, serial)),
        );
        cases.retain(|case| !genuine.contains(case));
        for case in cases {
            is_refused(send_numbers(case.0, case.1), case);
            assert_eq!(mp::arena_stats().unwrap(), stats, "{case:?}");
        }
        // All of them still work.
        other.put(8).unwrap();
        let (place, serial) = genuine[1];
        assert_eq!(send_numbers(place, serial).unwrap(), "Ok(8)");
        event.set();
        drop(lock.lock().unwrap());
        assert_eq!(
            (value.get().unwrap(), array.to_vec().unwrap()),
            (1, vec![0; 100])
        );
    });
}

#[mp::test]
fn random_numbers_are_no_handles() {
    alone(|| {
        let queues: Vec<_> = (0..20).map(|_| mp::Queue::<u32>::new().unwrap()).collect();
        queues.iter().for_each(|queue| queue.put(7).unwrap());
        let genuine: Vec<_> = queues.iter().map(|queue| numbers(queue.clone())).collect();
        let used = genuine.iter().map(|numbers| numbers.0).max().unwrap();
        let stats = mp::arena_stats().unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let mut seed = now.as_nanos() as u64 | 1;
        eprintln!("seed {seed}");
        let mut random = |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        for round in 0..200 {
            let serial = match round % 3 {
                0 => genuine[random(20) as usize].1,
                1 => random(200),
                _ => random(u64::MAX),
            };
            let place = match round % 5 {
                0 => random(used + 4096) / 16 * 16,
                1 => random(used + 4096) / 64 * 64,
                2 => random(used + 4096),
                3 => random(stats.capacity),
                _ => random(u64::MAX),
            };
            let result = send_numbers(place, serial);
            if genuine.contains(&(place, serial)) {
                result.unwrap();
            } else {
                is_refused(result, (place, serial));
            }
            assert_eq!(mp::arena_stats().unwrap().objects, stats.objects);
        }
    });
}

#[mp::test]
fn handles_of_other_types_are_no_handles() {
    alone(|| {
        let queue = mp::Queue::<u32>::new().unwrap();
        queue.put(7).unwrap();
        let (lock, value) = (mp::Lock::new().unwrap(), mp::Value::new(1_u64).unwrap());
        let (array, event) = (
            mp::Array::<u64>::zeroed(3).unwrap(),
            mp::Event::new().unwrap(),
        );
        let stats = mp::arena_stats().unwrap();
        let all = [
            ("a Queue", numbers(queue.clone())),
            ("a Lock", numbers(lock.clone())),
            ("a Value", numbers(value.clone())),
            ("an Array", numbers(array.clone())),
            ("an Event", numbers(event.clone())),
        ];
        for (kind, (place, serial)) in all {
            // A function of another handle each, of which one is the right one.
            let results = [
                (
                    "a Lock",
                    mp::spawn!(take_lock, Altered::Numbers(place, serial)),
                    "true",
                ),
                (
                    "a Value",
                    mp::spawn!(take_value, Altered::Numbers(place, serial)),
                    "Ok(1)",
                ),
                (
                    "an Array",
                    mp::spawn!(take_array, Altered::Numbers(place, serial)),
                    "Ok([0, 0, 0])",
                ),
                (
                    "an Event",
                    mp::spawn!(take_event, Altered::Numbers(place, serial)),
                    "false",
                ),
                (
                    "a Queue of another type",
                    mp::spawn!(take_strings, Altered::Numbers(place, serial)),
                    "",
                ),
            ];
            for (taken, process, expected) in results {
                let result = process.unwrap().join();
                if taken == kind {
                    assert_eq!(result.unwrap(), expected);
                } else {
                    let text = is_refused(result, (kind, taken));
                    assert!(text.contains(kind) && text.contains("is wanted"), "{text}");
                }
            }
            assert_eq!(mp::arena_stats().unwrap(), stats, "{kind}");
        }
        assert_eq!(queue.get().unwrap(), 7, "nobody took it");
    });
}

/// Numbers that were a handle in this process, whose object is gone, and whose place another one has.
#[mp::test]
fn handles_of_objects_that_are_gone_are_no_handles() {
    alone(|| {
        let mut kept = Vec::new();
        for _ in 0..20 {
            let (place, serial) = numbers(mp::Queue::<u32>::new().unwrap());
            is_refused(send_numbers(place, serial), "gone");
            let next = mp::Queue::<u32>::new().unwrap();
            kept.push(next.clone());
            is_refused(
                send_numbers(place, serial),
                "gone, with another at its place",
            );
        }
        let places: Vec<_> = kept.iter().map(|queue| numbers(queue.clone())).collect();
        kept.truncate(10);
        for (index, (place, serial)) in places.into_iter().enumerate() {
            let result = send_numbers(place, serial);
            if index < 10 {
                assert_eq!(result.unwrap(), "Err(Empty)");
            } else {
                is_refused(result, index);
            }
        }
    });
}

/// A genuine handle beside an altered one: what was received is given back.
#[mp::process_fn]
fn take_both(first: mp::Queue<u32>, queue: Altered<(), mp::Queue<u32>>, last: mp::Queue<u32>) {
    let _received = (first, queue, last);
}

#[mp::test]
fn an_altered_handle_among_genuine_ones_leaves_nothing() {
    alone(|| {
        let (first, last) = (
            mp::Queue::<u32>::new().unwrap(),
            mp::Queue::<u32>::new().unwrap(),
        );
        let (place, serial) = numbers(first.clone());
        let stats = mp::arena_stats().unwrap();
        let altered = Altered::Numbers(place + 64, serial);
        let error = mp::spawn!(take_both, first.clone(), altered, last.clone())
            .unwrap()
            .join()
            .unwrap_err();
        assert!(matches!(error, ProcessError::Decode { .. }), "{error:?}");
        assert_eq!(mp::arena_stats().unwrap(), stats);
        first.put(1).unwrap();
        assert_eq!(first.get().unwrap(), 1);
    });
}
