//! Queues whose users are killed at any moment. `MP_KILLS` sets how many.

mod common_shm;

use std::collections::HashMap;
use std::thread;

use common_shm::{Random, kill, kills};
use multiproc_tests::leaks::alone;
use serde::{Deserialize, Serialize};

/// What producers put: of all sizes, some with a handle.
#[derive(Debug, Serialize, Deserialize)]
struct Item {
    producer: u32,
    number: u64,
    payload: Vec<u8>,
    value: Option<mp::Value<u64>>,
}

impl Item {
    fn new(producer: u32, number: u64) -> Self {
        let length = match number % 7 {
            0 => 9000,
            3 => 500,
            1..3 => 60,
            _ => 3,
        };
        let value = number
            .is_multiple_of(5)
            .then(|| mp::Value::new(number).expect("making a value"));
        Self {
            producer,
            number,
            payload: vec![number as u8; length],
            value,
        }
    }

    fn check(&self) {
        let expected = Self::new(self.producer, self.number);
        assert_eq!(self.payload, expected.payload);
        let value = self.value.as_ref();
        assert_eq!(
            value.map(|value| value.get().expect("nobody locks it")),
            expected.value.map(|_| self.number)
        );
    }
}

/// The next number of each producer.
#[derive(Default)]
struct Order(HashMap<u32, u64>);

impl Order {
    fn check(&mut self, item: &Item) {
        item.check();
        let next = self.0.entry(item.producer).or_default();
        assert_eq!(item.number, *next, "from producer {}", item.producer);
        *next += 1;
    }
}

#[mp::process_fn]
fn produce(producer: u32, queue: mp::Queue<Item>, stop: mp::Event) -> u64 {
    let mut number = 0;
    while !stop.is_set() {
        queue.put(Item::new(producer, number)).expect("putting");
        number += 1;
        // So that the getter can keep up.
        while queue.len() > 300 && !stop.is_set() {
            thread::yield_now();
        }
    }
    number
}

fn producers_are_killed(queue: mp::Queue<Item>) {
    let mut random = Random::new();
    let mut order = Order::default();
    let [stop, never] = [(); 2].map(|()| mp::Event::new().expect("making an event"));
    let survivor = mp::spawn!(produce, u32::MAX, queue.clone(), stop.clone()).expect("spawning");
    let start = |id| mp::spawn!(produce, id, queue.clone(), never.clone()).expect("spawning");
    let mut next = Some(start(0));
    for id in 1..=kills() {
        let victim = next.replace(start(id)).expect("one was started");
        while !order.0.contains_key(&(id - 1)) {
            order.check(&queue.get().expect("getting"));
        }
        random.moment();
        kill(victim);
        for _ in 0..100 {
            order.check(&queue.get().expect("the survivor puts"));
        }
    }
    kill(next.expect("one was started"));
    stop.set();
    // It may wait for room.
    while survivor.is_alive() {
        if let Ok(item) = queue.try_get() {
            order.check(&item);
        }
    }
    while let Ok(item) = queue.try_get() {
        order.check(&item);
    }
    assert_eq!(order.0[&u32::MAX], survivor.join().expect("it survives"));
    assert!(queue.is_empty());
}

#[mp::test]
fn producers_that_are_killed_leave_the_order_of_an_unbounded_queue() {
    alone(|| producers_are_killed(mp::Queue::new().expect("making a queue")));
}

#[mp::test]
fn producers_that_are_killed_leave_the_order_of_a_bounded_queue() {
    alone(|| producers_are_killed(mp::Queue::bounded(10).expect("making a queue")));
}

#[mp::process_fn]
fn relay(from: mp::Queue<Item>, to: mp::Queue<Item>) {
    while let Ok(item) = from.get() {
        to.put(item).expect("putting");
    }
}

/// Two relays at once, one of which is killed after the other.
fn relays_are_killed(from: mp::Queue<Item>, to: mp::Queue<Item>) {
    let mut random = Random::new();
    let start = || mp::spawn!(relay, from.clone(), to.clone()).expect("spawning");
    let (mut sent, mut received) = (0, std::collections::HashSet::new());
    let mut next = start();
    let mut receive = |item: Item| {
        item.check();
        assert!(received.insert(item.number), "{} came twice", item.number);
    };
    let rounds = kills();
    for _ in 0..rounds {
        let victim = std::mem::replace(&mut next, start());
        for _ in 0..20 {
            from.put(Item::new(0, sent)).expect("putting");
            sent += 1;
        }
        random.moment();
        kill(victim);
        while let Ok(item) = to.try_get() {
            receive(item);
        }
    }
    from.shutdown().expect("shutting down");
    next.join().expect("it survives");
    while let Ok(item) = to.try_get() {
        receive(item);
    }
    let lost = sent - received.len() as u64;
    assert!(lost <= u64::from(rounds), "{lost} are lost of {sent}");
    assert!(from.is_empty() && to.is_empty());
}

#[mp::test]
fn getters_that_are_killed_lose_one_item_at_most_and_repeat_none() {
    alone(|| {
        let [from, to] = [(); 2].map(|()| mp::Queue::new().expect("making a queue"));
        relays_are_killed(from, to);
    });
}

#[mp::process_fn]
fn put_one_at_a_time(queue: mp::Queue<u64>, replies: mp::Queue<u64>, stop: mp::Event) {
    let mut number = 0;
    while !stop.is_set() {
        queue.put(number).expect("putting");
        // So that the getter sleeps each time.
        let _ = replies.get_timeout(std::time::Duration::from_millis(1));
        number += 1;
    }
}

#[mp::test]
fn a_getter_wakes_for_the_survivor_when_a_waker_is_killed() {
    alone(|| {
        let mut random = Random::new();
        let [queue, replies] = [(); 2].map(|()| mp::Queue::new().expect("making a queue"));
        let [stop, never] = [(); 2].map(|()| mp::Event::new().expect("making an event"));
        let start = |stop: &mp::Event| {
            mp::spawn!(
                put_one_at_a_time,
                queue.clone(),
                replies.clone(),
                stop.clone()
            )
            .expect("spawning")
        };
        let survivor = start(&stop);
        for _ in 0..kills() {
            let victim = start(&never);
            for _ in 0..random.below(30) {
                queue.get().expect("getting");
            }
            kill(victim);
            for _ in 0..5 {
                queue.get().expect("getting");
            }
        }
        stop.set();
        survivor.join().expect("it survives");
    });
}
