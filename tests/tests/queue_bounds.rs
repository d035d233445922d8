//! Queues that are full, empty or shut down, and items that cannot be put or got.

mod common_shm;

use std::fmt;
use std::time::Duration;

use common_shm::LONG;
use mp::{Queue, TryGetError, TryPutError};
use multiproc_tests::leaks::alone;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[mp::test]
fn a_full_queue_gives_the_item_back() {
    alone(|| {
        let queue = Queue::bounded(2).expect("making a queue");
        assert_eq!(queue.capacity(), Some(2));
        let item = |number: u32| format!("item {number} {}", "x".repeat(100));
        queue.put(item(1)).expect("putting");
        assert!(!queue.is_full());
        queue.try_put(item(2)).expect("putting");
        assert!(queue.is_full());
        assert_eq!(queue.try_put(item(3)), Err(TryPutError::Full(item(3))));
        for timeout in [Duration::ZERO, Duration::from_millis(20)] {
            assert_eq!(
                queue.put_timeout(item(4), timeout),
                Err(TryPutError::Full(item(4)))
            );
        }
        assert_eq!(queue.get(), Ok(item(1)));
        queue.put_timeout(item(5), LONG).expect("there is room");
        assert_eq!(queue.len(), 2);
        assert_eq!(queue.get(), Ok(item(2)));
        assert_eq!(queue.get(), Ok(item(5)));
        assert_eq!(queue.try_get(), Err(TryGetError::Empty));
        for timeout in [Duration::ZERO, Duration::from_millis(20)] {
            assert_eq!(queue.get_timeout(timeout), Err(TryGetError::Empty));
        }
        assert!(queue.is_empty());
        assert_eq!(Queue::<u8>::new().expect("making a queue").capacity(), None);
    });
}

#[mp::process_fn]
fn put_numbers(queue: Queue<u32>, count: u32) -> bool {
    (0..count).all(|number| queue.put(number).is_ok())
}

#[mp::test]
fn a_putter_that_waits_for_room_goes_on_when_there_is_some() {
    alone(|| {
        let queue = Queue::bounded(1).expect("making a queue");
        let putter = mp::spawn!(put_numbers, queue.clone(), 1000).expect("spawning");
        for number in 0..1000 {
            assert_eq!(queue.get_timeout(LONG), Ok(number));
        }
        assert!(putter.join().expect("it ends"));
    });
}

#[mp::process_fn]
fn get_numbers(queue: Queue<u32>, waits: Queue<()>) -> (u32, bool) {
    waits.put(()).expect("putting");
    let mut count = 0;
    loop {
        match queue.get() {
            Ok(_) => count += 1,
            Err(error) => return (count, error.is_shutdown()),
        }
    }
}

#[mp::test]
fn a_shutdown_wakes_those_who_get() {
    alone(|| {
        let queue = Queue::new().expect("making a queue");
        let waits = Queue::new().expect("making a queue");
        let getters: Vec<_> = (0..4)
            .map(|_| mp::spawn!(get_numbers, queue.clone(), waits.clone()).expect("spawning"))
            .collect();
        for _ in &getters {
            waits.get().expect("getting");
        }
        for number in 0..10 {
            queue.put(number).expect("putting");
        }
        queue.shutdown().expect("shutting down");
        let mut got = 0;
        for getter in getters {
            let (count, by_shutdown) = getter.join().expect("it ends");
            assert!(by_shutdown);
            got += count;
        }
        assert_eq!(got, 10, "what was put before is drained");
    });
}

#[mp::process_fn]
fn put_until_shutdown(queue: Queue<u32>, waits: Queue<()>) -> (u32, u32) {
    let mut number = 0;
    loop {
        if number == 1 {
            waits.put(()).expect("putting");
        }
        match queue.put(number) {
            Ok(()) => number += 1,
            Err(TryPutError::Shutdown(item)) => return (number, item),
            Err(error) => panic!("{error}"),
        }
    }
}

#[mp::test]
fn a_shutdown_wakes_those_who_put_and_gives_their_items_back() {
    alone(|| {
        let queue = Queue::bounded(4).expect("making a queue");
        let waits = Queue::new().expect("making a queue");
        let putters: Vec<_> = (0..4)
            .map(|_| {
                mp::spawn!(put_until_shutdown, queue.clone(), waits.clone()).expect("spawning")
            })
            .collect();
        waits.get().expect("getting");
        while !queue.is_full() {
            std::thread::yield_now();
        }
        queue.shutdown().expect("shutting down");
        queue.shutdown().expect("shutting down again");
        assert!(queue.is_shutdown());
        let mut put = 0;
        for putter in putters {
            let (count, back) = putter.join().expect("it ends");
            assert_eq!(back, count, "the item that was not put comes back");
            put += count;
        }
        assert_eq!(put, 4);
        assert_eq!(queue.into_iter().count(), 4);
        assert_eq!(queue.get(), Err(TryGetError::Shutdown));
        assert_eq!(queue.try_get(), Err(TryGetError::Shutdown));
        assert_eq!(queue.get_timeout(LONG), Err(TryGetError::Shutdown));
        assert_eq!(queue.try_put(1), Err(TryPutError::Shutdown(1)));
        assert_eq!(queue.put_timeout(2, LONG), Err(TryPutError::Shutdown(2)));
        assert_eq!(queue.put_ref(&3), Err(TryPutError::Shutdown(())));
    });
}

/// Cannot be encoded when it is odd, nor decoded when it is a multiple of 4.
#[derive(Debug, PartialEq)]
struct Fussy(u32);

impl Serialize for Fussy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 % 2 == 1 {
            return Err(serde::ser::Error::custom("it is odd"));
        }
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Fussy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(deserializer)?;
        if number % 4 == 0 {
            return Err(serde::de::Error::custom("it is a multiple of 4"));
        }
        Ok(Self(number))
    }
}

fn contains(error: impl fmt::Display, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[mp::test]
fn an_item_that_cannot_be_encoded_comes_back() {
    alone(|| {
        let queue = Queue::new().expect("making a queue");
        match queue.put((Fussy(3), "x".repeat(1000))) {
            Err(TryPutError::Encode((item, _), error)) => {
                assert_eq!(item, Fussy(3));
                contains(error, &["odd", "Fussy"]);
            }
            other => panic!("{other:?}"),
        }
        assert!(queue.is_empty());
        queue.put((Fussy(2), String::new())).expect("putting");
        assert_eq!(queue.get(), Ok((Fussy(2), String::new())));
    });
}

#[mp::test]
fn an_item_that_cannot_be_decoded_is_taken_and_the_next_one_is_there() {
    alone(|| {
        let queue = Queue::new().expect("making a queue");
        for number in [4, 6] {
            queue
                .put((Fussy(number), vec![0_u8; 1000]))
                .expect("putting");
        }
        match queue.get() {
            Err(TryGetError::Decode(error)) => contains(error, &["multiple of 4", "Fussy"]),
            other => panic!("{other:?}"),
        }
        assert_eq!(queue.get().map(|item| item.0), Ok(Fussy(6)));
        assert!(queue.is_empty());
    });
}

#[mp::test]
fn an_encoding_that_panics_leaves_the_queue_working() {
    struct Panics;
    impl Serialize for Panics {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            std::panic::resume_unwind(Box::new(()))
        }
    }
    #[derive(Serialize)]
    enum Item {
        Fine(mp::Event),
        Bad(mp::Event, Panics),
    }
    alone(|| {
        let queue = Queue::new().expect("making a queue");
        let event = mp::Event::new().expect("making an event");
        let put = || queue.put(Item::Bad(event.clone(), Panics));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(put)).is_err());
        assert!(queue.is_empty());
        queue.put(Item::Fine(event)).expect("putting");
        assert_eq!(queue.len(), 1);
    });
}

/// Puts into another queue while it is encoded, and gets from it while it is decoded.
#[derive(Debug)]
struct Nested(Queue<String>);

impl Serialize for Nested {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0
            .put("inner".repeat(50))
            .map_err(serde::ser::Error::custom)?;
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Nested {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let inner = Queue::<String>::deserialize(deserializer)?;
        assert_eq!(inner.get(), Ok("inner".repeat(50)));
        Ok(Self(inner))
    }
}

#[mp::test]
fn queues_may_be_used_while_an_item_is_encoded_and_decoded() {
    alone(|| {
        let inner = Queue::new().expect("making a queue");
        let outer = Queue::new().expect("making a queue");
        outer
            .put(("before".to_owned(), Nested(inner), "after".to_owned()))
            .expect("putting");
        let (before, _, after) = outer.get().expect("getting");
        assert_eq!((before.as_str(), after.as_str()), ("before", "after"));
    });
}
