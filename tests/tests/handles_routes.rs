//! Handles of every kind on every way from process to process.
//!
//! [`routes!`] makes a module of tests for each kind, with a test for each way. Below it are messages with handles of many
//! kinds.

mod common_shm;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use mp::{
    Array, Atomic, Barrier, BoundedSemaphore, Condition, Connection, Event, Fd, JoinableQueue,
    Lock, Queue, RLock, Receiver, Semaphore, Sender, Shared, SharedMemory, Value,
};
use multiproc_tests::leaks::alone;
use serde::{Deserialize, Serialize};

/// `kind: type, make, use, check;` for each kind: `make` gives a handle and what will show its use, another process uses the
/// handle, and then this one checks.
macro_rules! routes {
    ($($kind:ident: $handle:ty, $make:expr, $used:expr, $check:expr;)*) => { $(
        mod $kind {
            use super::*;

            fn used(handle: $handle) {
                let used: fn($handle) = $used;
                used(handle);
            }

            /// Gives a handle to `way`, by which another process gets and uses it, and checks that it was used.
            fn is_used_by(way: impl FnOnce($handle)) {
                let (handle, witness) = $make;
                way(handle);
                show(witness, $check);
                assert_eq!(mp::__private::waiting_descriptors().expect("counting"), 0);
            }

            #[mp::process_fn]
            fn take(handle: $handle) {
                used(handle);
            }

            #[mp::process_fn]
            fn take_inside(mut handles: Vec<Option<Inside<$handle>>>) {
                match handles.remove(1) {
                    Some(Inside::Named { handle, number: 7 }) => used(*handle),
                    _ => panic!("it came out as another one"),
                }
            }

            #[mp::process_fn]
            fn give_back(handle: $handle) -> Result<($handle, u8), String> {
                Ok((handle, 7))
            }

            #[mp::process_fn]
            fn take_from_queue(handles: Queue<$handle>) {
                used(handles.get().expect("getting"));
            }

            #[mp::process_fn]
            fn take_from_pipe(peer: Connection<u8, (u8, $handle)>) {
                used(peer.recv().expect("receiving").1);
            }

            #[mp::process_fn]
            fn take_from_channel(handles: Receiver<$handle>) {
                used(handles.recv().expect("receiving"));
            }

            #[mp::process_fn]
            fn hand_on(from: Queue<$handle>, to: Sender<$handle>) {
                to.send(from.get().expect("getting")).expect("sending");
            }

            #[mp::process_fn]
            fn pass_down(handle: $handle, depth: u32) {
                match depth {
                    0 => used(handle),
                    _ => ends(mp::spawn!(pass_down, handle, depth - 1)),
                }
            }

            #[mp::test]
            fn as_an_argument() {
                alone(|| is_used_by(|handle| ends(mp::spawn!(take, handle))));
            }

            #[mp::test]
            fn inside_of_something() {
                alone(|| is_used_by(|handle| {
                    let handle = Inside::Named { handle: Box::new(handle), number: 7 };
                    ends(mp::spawn!(take_inside, vec![Some(Inside::Nothing), Some(handle), None]));
                }));
            }

            #[mp::test]
            fn as_a_return_value() {
                alone(|| is_used_by(|handle| {
                    let given = mp::spawn!(give_back, handle).expect("spawning").join();
                    used(given.expect("it ends").expect("it is fine").0);
                }));
            }

            #[mp::test]
            fn through_queues() {
                alone(|| for new in [Queue::new, || Queue::bounded(1)] {
                    is_used_by(|handle| {
                        let queue = new().expect("making a queue");
                        queue.put(handle).expect("putting");
                        ends(mp::spawn!(take_from_queue, queue));
                    });
                });
            }

            #[mp::test]
            fn over_pipes() {
                alone(|| is_used_by(|handle| {
                    let (mine, theirs) = mp::pipe().expect("making a pipe");
                    mine.send((0, handle)).expect("sending");
                    ends(mp::spawn!(take_from_pipe, theirs));
                }));
            }

            #[mp::test]
            fn over_channels() {
                alone(|| is_used_by(|handle| {
                    let (tx, rx) = mp::channel().expect("making a channel");
                    tx.send(handle).expect("sending");
                    ends(mp::spawn!(take_from_channel, rx));
                }));
            }

            #[mp::test]
            fn through_other_hands() {
                alone(|| is_used_by(|handle| {
                    let queue = Queue::new().expect("making a queue");
                    let (tx, rx) = mp::channel().expect("making a channel");
                    queue.put(handle).expect("putting");
                    ends(mp::spawn!(hand_on, queue, tx));
                    ends(mp::spawn!(take_from_channel, rx));
                }));
            }

            #[mp::test]
            fn to_grandchildren() {
                alone(|| is_used_by(|handle| ends(mp::spawn!(pass_down, handle, 2))));
            }
        }
    )* };
}

routes! {
    queue: Queue<String>, two(Queue::new()), |queue| queue.put("used".to_owned()).unwrap(), |queue| assert_eq!(queue.get().unwrap(), "used");
    joinable_queue: JoinableQueue<u8>, two(JoinableQueue::new()), |tasks| tasks.put(7).unwrap(), |tasks| assert_eq!((tasks.get(), tasks.unfinished()), (Ok(7), 1));
    lock: Lock, owned(Lock::new(), |lock, meanwhile| { let _guard = lock.lock().unwrap(); meanwhile() }), |lock| assert!(lock.try_lock().is_err()), |owner: Owner| owner.ends();
    rlock: RLock, owned(RLock::new(), |lock, meanwhile| { let _guard = lock.lock().unwrap(); meanwhile() }), |lock| assert!(lock.try_lock().is_err()), |owner: Owner| owner.ends();
    semaphore: Semaphore, two(Semaphore::new(0)), |semaphore| semaphore.release().unwrap(), |semaphore| assert_eq!(semaphore.value(), 1);
    bounded_semaphore: BoundedSemaphore, taken(), |semaphore| semaphore.release().unwrap(), |semaphore| assert_eq!(semaphore.value(), 1);
    condition: Condition, waited_for(), |condition| condition.notify_all(), |waiter: JoinHandle<()>| waiter.join().unwrap();
    barrier: Barrier, two(Barrier::new(2)), |barrier| barrier.abort(), |barrier| assert!(barrier.is_broken());
    atomic: Atomic<u64>, two(Atomic::new(1)), |atomic| atomic.store(7, Ordering::SeqCst), |atomic| assert_eq!(atomic.load(Ordering::SeqCst), 7);
    shared: Shared<[u16]>, two(Shared::from_slice(&[1, 7])), |data| assert_eq!(data[..], [1, 7]), |data| assert_eq!(data[..], [1, 7]);
    shared_memory: SharedMemory, two(SharedMemory::create(None, 8)), |memory| memory.write_at(3, &[7]), |memory| memory_has(&memory, [0, 0, 0, 7]);
    value: Value<u64>, two(Value::new(1)), |value| value.set(7).unwrap(), |value| assert_eq!(value.get().unwrap(), 7);
    array: Array<u8>, two(Array::zeroed(2)), |array| array.lock().unwrap()[1] = 7, |array| assert_eq!(array.to_vec().unwrap(), [0, 7]);
    event: Event, two(Event::new()), |event| event.set(), |event| assert!(event.is_set());
    connection: Connection<u8, ()>, mp::pipe().unwrap(), |end| end.send(7).unwrap(), |peer: Connection<(), u8>| assert_eq!(peer.recv(), Ok(7));
    sender: Sender<u8>, mp::channel().unwrap(), |tx| tx.send(7).unwrap(), |rx: Receiver<u8>| assert_eq!(rx.recv(), Ok(7));
    receiver: Receiver<Event>, to_be_received(), |rx| rx.recv().unwrap().set(), |(event, _tx): (Event, Sender<Event>)| assert!(event.is_set());
    fd: Fd<UnixStream>, stream(), |mut fd| fd.write_all(&[7]).unwrap(), |mut peer: UnixStream| assert_eq!(read_all(&mut peer), [7]);
}

#[derive(Serialize, Deserialize)]
enum Inside<H> {
    Nothing,
    Named { handle: Box<H>, number: u8 },
}

/// Two handles of an object.
fn two<H: Clone>(made: mp::Result<H>) -> (H, H) {
    let handle = made.expect("making an object");
    (handle.clone(), handle)
}

/// A thread that owns a lock.
struct Owner(mpsc::Sender<()>, JoinHandle<()>);

impl Owner {
    fn ends(self) {
        drop(self.0);
        self.1.join().expect("it ends");
    }
}

/// A lock that a thread owns while the function that it is given waits.
fn owned<L: Clone + Send + 'static>(
    made: mp::Result<L>,
    own: impl FnOnce(&L, &dyn Fn()) + Send + 'static,
) -> (L, Owner) {
    let (lock, other) = two(made);
    let (ready, is_ready) = mpsc::channel();
    let (end, ends) = mpsc::channel::<()>();
    let owner = thread::spawn(move || {
        own(&other, &|| {
            ready.send(()).expect("somebody waits");
            let _ = ends.recv();
        });
    });
    is_ready.recv().expect("it owns the lock");
    (lock, Owner(end, owner))
}

/// A semaphore that has given its only permit away.
fn taken() -> (BoundedSemaphore, BoundedSemaphore) {
    let semaphore = BoundedSemaphore::new(1).expect("making a semaphore");
    semaphore.acquire().expect("there is one").forget();
    (semaphore.clone(), semaphore)
}

/// A condition for which a thread waits.
fn waited_for() -> (Condition, JoinHandle<()>) {
    let (condition, other) = two(Condition::new());
    let (lock, others) = two(Lock::new());
    let (ready, is_ready) = mpsc::channel();
    let waiter = thread::spawn(move || {
        let guard = others.lock().expect("nobody dies");
        ready.send(()).expect("somebody waits");
        drop(other.wait(guard).expect("nobody dies"));
    });
    is_ready.recv().expect("it has the lock");
    // When the lock is free again, it waits.
    drop(lock.lock().expect("nobody dies"));
    (condition, waiter)
}

fn memory_has(memory: &SharedMemory, bytes: [u8; 4]) {
    let mut read = [0; 4];
    memory.read_at(0, &mut read);
    assert_eq!(read, bytes);
    memory.unlink().expect("it has a name");
}

/// Calls a closure that the compiler could not give a type otherwise.
fn show<W>(witness: W, check: impl FnOnce(W)) {
    check(witness);
}

/// A receiver for which an event is underway.
fn to_be_received() -> (Receiver<Event>, (Event, Sender<Event>)) {
    let (tx, rx) = mp::channel().expect("making a channel");
    let event = Event::new().expect("making an event");
    tx.send(event.clone()).expect("sending");
    (rx, (event, tx))
}

fn stream() -> (Fd<UnixStream>, UnixStream) {
    let (stream, peer) = UnixStream::pair().expect("making a pair");
    (stream.into(), peer)
}

/// What comes from a stream until nobody has its other end any more.
fn read_all(stream: &mut UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("reading");
    bytes
}

fn ends(process: mp::Result<mp::Process<()>>) {
    process.expect("spawning").join().expect("it ends");
}

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
