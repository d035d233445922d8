//! Messages with descriptors whose senders and receivers are killed at any moment. `MP_KILLS` sets how many.
//!
//! What waits behind others in the depot, and before them, makes every process move packets that are not its own.

mod common_shm;

use std::collections::HashSet;
use std::fs::File;

use common_shm::{Random, kill, kills, stats};
use mp::{Fd, Queue, Receiver, Sender};
use multiproc_tests::leaks::alone;
use multiproc_tests::processes::descriptors;
use rustix::fd::OwnedFd;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Item {
    number: u64,
    files: Vec<Fd<File>>,
    /// So that the end of the item can be seen.
    life: Option<Sender<()>>,
}

impl Item {
    fn new(number: u64) -> Self {
        let count = match number % 20 {
            0 => 300,
            1..5 => 3,
            _ => 1,
        };
        let memory: OwnedFd = memfd_create("item", MemfdFlags::CLOEXEC).expect("making memory");
        ftruncate(&memory, number).expect("setting its length");
        let file = File::from(memory);
        let copy = |_| Fd::new(file.try_clone().expect("duplicating"));
        Self {
            number,
            files: (0..count).map(copy).collect(),
            life: None,
        }
    }

    #[track_caller]
    fn check(&self) {
        for file in &self.files {
            let length = file.metadata().expect("it is open").len();
            assert_eq!(length, self.number);
        }
        assert_eq!(self.files.len(), Self::new(self.number).files.len());
    }
}

fn waiting() -> u64 {
    mp::__private::waiting_descriptors().expect("counting")
}

/// Messages of others, which nobody touches: each time somebody goes round, they are moved.
struct Bystanders(Queue<Item>, Vec<Receiver<()>>);

impl Bystanders {
    fn new() -> Self {
        let queue = Queue::new().expect("making a queue");
        let mut lives = Vec::new();
        for number in 1..5 {
            let (life, end) = mp::channel().expect("making a channel");
            let item = Item {
                life: Some(life),
                ..Item::new(number)
            };
            queue.put(item).expect("putting");
            lives.push(end);
        }
        Self(queue, lives)
    }

    #[track_caller]
    fn are_whole(self) {
        for (number, end) in (1..5).zip(self.1) {
            assert_eq!(end.try_recv(), Err(mp::RecvError::Empty));
            let item = self.0.get().expect("getting");
            assert_eq!(item.number, number);
            item.check();
            drop(item);
            // No copy is left anywhere.
            assert_eq!(end.recv(), Err(mp::RecvError::Closed));
        }
    }
}

#[mp::process_fn]
fn relay(from: Queue<Item>, to: Queue<Item>) {
    loop {
        let item = from.get().expect("getting");
        item.check();
        to.put(item).expect("putting");
    }
}

/// Two relays at once, one of which is killed after the other.
#[mp::test]
fn relays_that_are_killed_lose_one_item_at_most_and_no_descriptor_of_others() {
    alone(|| {
        let mut random = Random::new();
        let bystanders = Bystanders::new();
        let before = (stats(), descriptors(), waiting());
        let [from, to] = [(); 2].map(|()| Queue::new().expect("making a queue"));
        let start = || mp::spawn!(relay, from.clone(), to.clone()).expect("spawning");
        let (mut sent, mut received) = (0, HashSet::new());
        let mut receive = |item: Item| {
            item.check();
            assert!(received.insert(item.number), "{} came twice", item.number);
        };
        let mut next = start();
        for _ in 0..kills() {
            let victim = std::mem::replace(&mut next, start());
            for _ in 0..10 {
                from.put(Item::new(sent)).expect("putting");
                sent += 1;
            }
            receive(to.get().expect("one of them goes on"));
            random.moment();
            kill(victim);
            while let Ok(item) = to.try_get() {
                receive(item);
            }
        }
        while !from.is_empty() {
            receive(to.get().expect("the last one goes on"));
        }
        kill(next);
        while let Ok(item) = to.try_get() {
            receive(item);
        }
        let lost = sent - received.len() as u64;
        assert!(lost <= u64::from(kills()) + 1, "{lost} are lost of {sent}");
        drop((from, to));
        assert_eq!((stats(), descriptors(), waiting()), before);
        bystanders.are_whole();
        assert_eq!(waiting(), 0);
    });
}

#[mp::process_fn]
fn produce(queue: Queue<Item>, peer: Sender<Item>) -> Item {
    for number in 0.. {
        queue.put(Item::new(number)).expect("putting");
        if number < 3 {
            peer.send(Item::new(20 * number)).expect("sending");
        }
        if number == 1000 {
            return Item::new(number);
        }
    }
    unreachable!("it returns before")
}

/// With items unread in a queue and a connection, which go when these do.
#[mp::test]
fn what_a_killed_producer_leaves_goes_with_the_queue() {
    alone(|| {
        let mut random = Random::new();
        let bystanders = Bystanders::new();
        let before = (stats(), descriptors(), waiting());
        for _ in 0..kills() {
            let queue = Queue::bounded(10).expect("making a queue");
            let (tx, rx) = mp::channel().expect("making a channel");
            let victim = mp::spawn!(produce, queue.clone(), tx).expect("spawning");
            queue.get().expect("getting").check();
            random.moment();
            for _ in 0..random.below(5) {
                queue.get().expect("getting").check();
                if let Ok(item) = rx.try_recv() {
                    item.check();
                }
            }
            kill(victim);
            while let Ok(item) = queue.try_get() {
                item.check();
                if random.below(3) == 0 {
                    break;
                }
            }
            drop((queue, rx));
            assert_eq!((stats(), descriptors(), waiting()), before);
        }
        bystanders.are_whole();
        assert_eq!(waiting(), 0);
    });
}

#[mp::process_fn]
fn give_back(item: Item) -> Item {
    item
}

/// Some are killed before they have left their value, some after, and some are never joined.
#[mp::test]
fn return_values_of_killed_processes_leave_nothing() {
    alone(|| {
        let mut random = Random::new();
        let bystanders = Bystanders::new();
        let before = (stats(), descriptors(), waiting());
        for number in 0..u64::from(kills()) {
            let (life, end) = mp::channel().expect("making a channel");
            let item = Item {
                life: Some(life),
                ..Item::new(number % 40)
            };
            let child = mp::spawn!(give_back, item).expect("spawning");
            random.moment();
            random.moment();
            child.kill().expect("killing");
            child.wait();
            match random.below(3) {
                0 => drop(child),
                _ => {
                    if let Ok(item) = child.join() {
                        item.check();
                    }
                }
            }
            assert_eq!(end.recv(), Err(mp::RecvError::Closed));
        }
        assert_eq!((stats(), descriptors(), waiting()), before);
        bystanders.are_whole();
        assert_eq!(waiting(), 0);
    });
}
