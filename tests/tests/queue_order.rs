//! What goes into queues comes out of them: once, in order, whole.

mod common_shm;

use std::collections::HashMap;

use mp::{Queue, TryGetError};
use multiproc_tests::leaks::alone;

type Item = (u32, u64, String);

#[mp::process_fn]
fn produce(id: u32, queue: Queue<Item>, count: u64) {
    for number in 0..count {
        // Some are too long for a slot.
        let text = "x".repeat(number as usize % 90);
        queue.put((id, number, text)).expect("putting");
    }
}

/// Takes until the shutdown; checks each producer's order, and tells how many there were of each.
#[mp::process_fn]
fn consume(queue: Queue<Item>) -> HashMap<u32, Vec<u64>> {
    let mut seen: HashMap<u32, Vec<u64>> = HashMap::new();
    for (id, number, text) in &queue {
        assert_eq!(text.len(), number as usize % 90);
        let numbers = seen.entry(id).or_default();
        assert!(
            numbers.last().is_none_or(|last| *last < number),
            "from {id}: {number} after {numbers:?}"
        );
        numbers.push(number);
    }
    seen
}

fn every_item_comes_out_once(queue: Queue<Item>) {
    const COUNT: u64 = 5000;
    let spawn_producer = |id| mp::spawn!(produce, id, queue.clone(), COUNT).expect("spawning");
    let producers: Vec<_> = (0..4).map(spawn_producer).collect();
    let consumers: Vec<_> = (0..4)
        .map(|_| mp::spawn!(consume, queue.clone()).expect("spawning"))
        .collect();
    for producer in producers {
        producer.join().expect("it ends");
    }
    queue.shutdown().expect("shutting down");
    let mut all: HashMap<u32, Vec<u64>> = HashMap::new();
    for consumer in consumers {
        for (id, numbers) in consumer.join().expect("it ends") {
            all.entry(id).or_default().extend(numbers);
        }
    }
    assert_eq!(all.len(), 4);
    for numbers in all.values_mut() {
        numbers.sort_unstable();
        assert!(numbers.iter().copied().eq(0..COUNT));
    }
    assert_eq!(queue.len(), 0);
}

#[mp::test]
fn four_producers_and_four_consumers_of_an_unbounded_queue() {
    alone(|| every_item_comes_out_once(Queue::new().expect("making a queue")));
}

#[mp::test]
fn four_producers_and_four_consumers_of_a_bounded_queue() {
    alone(|| every_item_comes_out_once(Queue::bounded(7).expect("making a queue")));
}

#[mp::test]
fn four_producers_and_four_consumers_of_a_queue_of_one() {
    alone(|| every_item_comes_out_once(Queue::bounded(1).expect("making a queue")));
}

#[mp::test]
fn a_process_may_put_and_exit_before_anybody_gets() {
    alone(|| {
        let queue = Queue::new().expect("making a queue");
        let producer = mp::spawn!(produce, 7, queue.clone(), 100_000).expect("spawning");
        producer.join().expect("it ends");
        assert_eq!(queue.len(), 100_000);
        for expected in 0..100_000 {
            let (id, number, _) = queue.get().expect("getting");
            assert_eq!((id, number), (7, expected));
        }
        assert_eq!(queue.try_get(), Err(TryGetError::Empty));
    });
}

#[mp::test]
fn memory_comes_back_from_a_million_items() {
    alone(|| {
        let queue = Queue::new().expect("making a queue");
        let start = common_shm::stats().used;
        for number in 0..1_000_000_u64 {
            queue.put(number).expect("putting");
        }
        assert!(common_shm::stats().used > start + 1_000_000 * 8);
        for number in 0..1_000_000 {
            assert_eq!(queue.get(), Ok(number));
        }
        let left = common_shm::stats().used - start;
        assert!(left < 1 << 20, "the last ring stays: {left} bytes");
        // It still works.
        queue.put(7).expect("putting");
        assert_eq!(queue.get(), Ok(7));
    });
}

#[mp::process_fn]
fn echo(from: Queue<Vec<u8>>, to: Queue<Vec<u8>>) {
    for message in &from {
        to.put(message).expect("putting");
    }
}

#[mp::test]
fn messages_may_have_any_size() {
    alone(|| {
        let [from, to] = [(); 2].map(|()| Queue::new().expect("making a queue"));
        let other = mp::spawn!(echo, from.clone(), to.clone()).expect("spawning");
        let mut lengths: Vec<usize> = (0..200).collect();
        // A ring holds the former, and the latter are large from the beginning.
        lengths.extend((8180..8200).chain(16_370..16_390));
        lengths.extend([4095, 4096, 65_536, 1 << 20, (1 << 20) + 1, 100_000_000]);
        for length in lengths {
            let message: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
            from.put_ref(&message).expect("putting");
            assert!(to.get().expect("getting") == message, "{length} bytes");
        }
        from.shutdown().expect("shutting down");
        other.join().expect("it ends");
    });
}

#[mp::test]
#[ignore = "it takes 4 GB of memory: run it with --ignored"]
fn a_message_may_have_a_gigabyte() {
    let before = mp::arena_stats().expect("the arena is there").used;
    let queue = Queue::new().expect("making a queue");
    let message = vec![7_u8; 1 << 30];
    queue.put_ref(&message).expect("putting");
    assert!(queue.get().expect("getting") == message);
    drop(queue);
    assert_eq!(mp::arena_stats().expect("the arena is there").used, before);
}

#[mp::test]
fn items_may_take_no_bytes() {
    alone(|| {
        let queue = Queue::new().expect("making a queue");
        for _ in 0..100 {
            queue.put(()).expect("putting");
        }
        assert_eq!(queue.len(), 100);
        for _ in 0..100 {
            queue.get().expect("getting");
        }
        assert!(queue.is_empty());
    });
}

#[mp::test]
fn items_that_nobody_takes_are_freed_with_the_queue() {
    alone(|| {
        let queue = Queue::new().expect("making a queue");
        for number in 0..3000 {
            let value = mp::Value::new(number).expect("making a value");
            queue
                .put((value, vec![number as u8; number as usize]))
                .expect("putting");
        }
        for _ in 0..1000 {
            queue.get().expect("getting");
        }
    });
}
