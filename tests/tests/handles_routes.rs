//! Handles of every kind on every way from process to process.

mod common_shm;

use std::collections::BTreeMap;

use mp::{Array, Connection, Event, Lock, Queue, Value};
use multiproc_tests::leaks::alone;
use serde::{Deserialize, Serialize};

/// One handle of each kind.
#[derive(Clone, Serialize, Deserialize)]
struct Set {
    queue: Queue<String>,
    lock: Lock,
    value: Value<u64>,
    array: Array<u8>,
    event: Event,
}

impl Set {
    fn new() -> Self {
        Self {
            queue: Queue::new().expect("making a queue"),
            lock: Lock::new().expect("making a lock"),
            value: Value::new(0).expect("making a value"),
            array: Array::zeroed(4).expect("making an array"),
            event: Event::new().expect("making an event"),
        }
    }

    /// Uses each object; the lock must be free.
    fn use_all(&self) {
        let _guard = self.lock.try_lock().expect("it is free");
        self.queue.put("used".to_owned()).expect("putting");
        *self.value.lock().expect("no death") += 1;
        self.array.lock().expect("no death")[3] += 1;
        self.event.set();
    }

    /// Checks that others have used each object so many times.
    #[track_caller]
    fn was_used(&self, times: u8) {
        assert_eq!(self.queue.len(), usize::from(times));
        assert_eq!(self.value.get().expect("no death"), u64::from(times));
        assert_eq!(self.array.to_vec().expect("no death"), [0, 0, 0, times]);
        assert!(self.event.is_set());
        assert!(self.lock.try_lock().is_ok());
    }
}

#[derive(Serialize, Deserialize)]
enum Choice {
    None,
    Unnamed(Set, u8),
    Named { name: String, set: Box<Set> },
}

#[mp::process_fn]
fn use_queue(queue: Queue<String>) {
    queue.put("used".to_owned()).expect("putting");
}

#[mp::process_fn]
fn use_each(queue: Queue<String>, lock: Lock, value: Value<u64>, array: Array<u8>, event: Event) {
    Set {
        queue,
        lock,
        value,
        array,
        event,
    }
    .use_all();
}

#[mp::process_fn]
fn use_set(set: Set) {
    set.use_all();
}

#[mp::process_fn]
fn use_borrowed(set: &str, sets: (Set, Option<Set>)) {
    assert_eq!(set, "a set");
    sets.0.use_all();
    assert!(sets.1.is_some());
}

#[mp::process_fn]
fn use_containers(
    sets: Vec<Set>,
    some: Option<Set>,
    none: Option<Set>,
    map: BTreeMap<String, Set>,
    choices: [Choice; 3],
) {
    assert!(none.is_none());
    for set in sets.iter().chain(&some).chain(map.values()) {
        set.use_all();
    }
    for choice in choices {
        match choice {
            Choice::None => {}
            Choice::Unnamed(set, 7) => set.use_all(),
            Choice::Named { name, set } if name == "named" => set.use_all(),
            _ => panic!("it came out as another one"),
        }
    }
}

/// Makes them, uses them, and returns them.
#[mp::process_fn]
fn make() -> (Set, Vec<Set>) {
    let sets = (Set::new(), vec![Set::new()]);
    sets.0.use_all();
    sets.1[0].use_all();
    sets
}

#[mp::process_fn]
fn give_back(set: Set) -> Result<Set, String> {
    set.use_all();
    Ok(set)
}

#[mp::process_fn]
fn use_from_queue(sets: Queue<(u8, Option<Set>)>) {
    for (_, set) in &sets {
        set.expect("there is one").use_all();
    }
}

#[mp::process_fn]
fn use_from_pipe(peer: Connection<Set, Set>) {
    while let Ok(set) = peer.recv() {
        set.use_all();
        peer.send(set).expect("sending");
    }
}

/// Hands sets on from one queue to another, and keeps none.
#[mp::process_fn]
fn hand_on(from: Queue<(u8, Option<Set>)>, to: Queue<(u8, Option<Set>)>) {
    for item in &from {
        to.put(item).expect("putting");
    }
    to.shutdown().expect("shutting down");
}

/// Gives the set to a child, and so on.
#[mp::process_fn]
fn pass_down(set: Set, depth: u32) {
    if depth > 0 {
        let child = mp::spawn!(pass_down, set.clone(), depth - 1).expect("spawning");
        child.join().expect("it ends");
    }
    set.use_all();
}

#[mp::test]
fn as_arguments() {
    alone(|| {
        let set = Set::new();
        let Set {
            queue,
            lock,
            value,
            array,
            event,
        } = set.clone();
        let child = mp::spawn!(use_each, queue, lock, value, array, event).expect("spawning");
        child.join().expect("it ends");
        set.was_used(1);
        mp::spawn!(use_set, set.clone())
            .expect("spawning")
            .join()
            .expect("it ends");
        set.was_used(2);
        mp::spawn!(use_borrowed, "a set", (set.clone(), Some(Set::new())))
            .expect("spawning")
            .join()
            .expect("it ends");
        set.was_used(3);
    });
}

#[mp::test]
fn in_containers() {
    alone(|| {
        let set = Set::new();
        let some = || set.clone();
        let choices = [
            Choice::Unnamed(some(), 7),
            Choice::None,
            Choice::Named {
                name: "named".to_owned(),
                set: Box::new(some()),
            },
        ];
        let map = [("a", some()), ("b", some())].map(|(key, set)| (key.to_owned(), set));
        let child = mp::spawn!(
            use_containers,
            vec![some(), some()],
            Some(some()),
            None,
            map.into(),
            choices
        );
        child.expect("spawning").join().expect("it ends");
        set.was_used(7);
    });
}

#[mp::test]
fn as_return_values() {
    alone(|| {
        let made = mp::spawn!(make).expect("spawning").join();
        let (first, others) = made.expect("it ends");
        first.was_used(1);
        others[0].was_used(1);
        let given = mp::spawn!(give_back, first.clone())
            .expect("spawning")
            .join();
        let same = given.expect("it ends").expect("it is fine");
        same.was_used(2);
        first.was_used(2);
    });
}

#[mp::test]
fn as_return_values_of_processes_that_are_never_joined() {
    alone(|| {
        let child = mp::spawn!(make).expect("spawning");
        child.wait();
        let detached = mp::spawn!(make).expect("spawning");
        let id = multiproc_tests::processes::Watched::new(detached.id());
        drop(detached);
        id.ends();
        while !mp::active_children().is_empty() {}
    });
}

#[mp::test]
fn through_queues() {
    alone(|| {
        let sets = Queue::new().expect("making a queue");
        let set = Set::new();
        let child = mp::spawn!(use_from_queue, sets.clone()).expect("spawning");
        for number in 0..5 {
            sets.put((number, Some(set.clone()))).expect("putting");
        }
        sets.shutdown().expect("shutting down");
        child.join().expect("it ends");
        set.was_used(5);
    });
}

#[mp::test]
fn through_pipes() {
    alone(|| {
        let (mine, theirs) = mp::pipe().expect("making a pipe");
        let child = mp::spawn!(use_from_pipe, theirs).expect("spawning");
        let set = Set::new();
        for times in 1..5 {
            mine.send(set.clone()).expect("sending");
            mine.recv().expect("receiving").was_used(times);
        }
        drop(mine);
        child.join().expect("it ends");
        set.was_used(4);
    });
}

#[mp::test]
fn through_other_hands() {
    alone(|| {
        let queues: Vec<Queue<_>> = (0..4)
            .map(|_| Queue::new().expect("making a queue"))
            .collect();
        let hands: Vec<_> = queues
            .windows(2)
            .map(|pair| mp::spawn!(hand_on, pair[0].clone(), pair[1].clone()).expect("spawning"))
            .collect();
        let set = Set::new();
        for number in 0..5 {
            queues[0].put((number, Some(set.clone()))).expect("putting");
        }
        queues[0].shutdown().expect("shutting down");
        let user = mp::spawn!(use_from_queue, queues[3].clone()).expect("spawning");
        user.join().expect("it ends");
        for hand in hands {
            hand.join().expect("it ends");
        }
        set.was_used(5);
    });
}

#[mp::test]
fn to_grandchildren() {
    alone(|| {
        let set = Set::new();
        let child = mp::spawn!(pass_down, set.clone(), 3).expect("spawning");
        child.join().expect("it ends");
        set.was_used(4);
    });
}

#[mp::process_fn]
fn make_and_put(sets: Queue<Set>) {
    let set = Set::new();
    set.use_all();
    sets.put(set).expect("putting");
}

#[mp::test]
fn an_object_outlives_the_process_that_made_it() {
    alone(|| {
        let sets = Queue::new().expect("making a queue");
        let maker = mp::spawn!(make_and_put, sets.clone()).expect("spawning");
        maker.join().expect("it ends");
        sets.get().expect("getting").was_used(1);
    });
}

#[derive(Serialize, Deserialize)]
struct Request {
    number: u64,
    reply: Queue<u64>,
}

#[mp::process_fn]
fn serve(requests: Queue<Request>) {
    for request in &requests {
        request.reply.put(request.number * 2).expect("putting");
    }
}

#[mp::test]
fn requests_may_carry_the_queue_for_their_reply() {
    alone(|| {
        let requests = Queue::new().expect("making a queue");
        let servers = [(); 2].map(|()| mp::spawn!(serve, requests.clone()).expect("spawning"));
        for number in 0..300 {
            let reply = Queue::new().expect("making a queue");
            let request = Request {
                number,
                reply: reply.clone(),
            };
            requests.put(request).expect("putting");
            assert_eq!(reply.get(), Ok(2 * number));
        }
        requests.shutdown().expect("shutting down");
        for server in servers {
            server.join().expect("it ends");
        }
    });
}

#[mp::test]
fn copies_in_one_process_are_the_same_object() {
    alone(|| {
        let queue = Queue::new().expect("making a queue");
        let set = Set::new();
        let before = common_shm::stats().objects;
        let copies: Vec<Set> = (0..50)
            .map(|_| {
                queue.put(set.clone()).expect("putting");
                queue.get().expect("getting")
            })
            .collect();
        assert_eq!(common_shm::stats().objects, before);
        copies[0].use_all();
        copies[49].was_used(1);
        drop((copies, set));
        assert_eq!(common_shm::stats().objects, before - 5);
    });
}
