//! Objects of every kind, used between children that are started by different methods, at once.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;

use mp::{
    Array, Atomic, Barrier, BoundedSemaphore, Condition, Event, Fd, JoinableQueue, Lock, Process,
    Queue, RLock, Semaphore, Shared, SharedMemory, StartMethod, TryGetError, Value,
};
use multiproc_tests::methods;
use multiproc_tests::methods::{available, by, named, pairs, start, value};
use multiproc_tests::processes::descriptors;
use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};

methods! {
    a_child_uses_all_objects_that_its_parent_made,
    a_parent_uses_all_objects_that_its_child_made,
    objects_are_used_between_siblings_of_all_methods_at_once,
    locks_exclude_each_other_whatever_the_methods,
    a_lock_whose_owner_is_killed_is_told_to_the_next,
    waiters_are_woken_whatever_the_methods,
    items_of_a_producer_that_has_ended_are_there,
    descriptors_are_passed,
    many_descriptors_are_passed,
    descriptors_are_not_passed_twice,
    streams_that_are_passed_are_in_nobody_else,
    objects_are_given_back_at_the_end_of_who_has_them,
    objects_pass_through_many_hands,
    ; once:
    objects_are_made_by_one_and_used_by_another,
}

fn file() -> File {
    memfd_create("file", MemfdFlags::CLOEXEC).unwrap().into()
}

/// One of each kind that can be cloned.
#[derive(Clone, Serialize, Deserialize)]
struct All {
    queue: Queue<String>,
    bounded: Queue<u8>,
    tasks: JoinableQueue<u8>,
    lock: Lock,
    rlock: RLock,
    semaphore: Semaphore,
    bounded_semaphore: BoundedSemaphore,
    condition: Condition,
    event: Event,
    barrier: Barrier,
    value: Value<u64>,
    array: Array<u16>,
    atomic: Atomic<u64>,
    shared: Shared<[u32]>,
    memory: SharedMemory,
}

impl All {
    fn new() -> Self {
        Self {
            queue: Queue::new().unwrap(),
            bounded: Queue::bounded(1000).unwrap(),
            tasks: JoinableQueue::new().unwrap(),
            lock: Lock::new().unwrap(),
            rlock: RLock::new().unwrap(),
            semaphore: Semaphore::new(2).unwrap(),
            bounded_semaphore: BoundedSemaphore::new(2).unwrap(),
            condition: Condition::new().unwrap(),
            event: Event::new().unwrap(),
            barrier: Barrier::new(1).unwrap(),
            value: Value::new(0).unwrap(),
            array: Array::zeroed(3).unwrap(),
            atomic: Atomic::new(0).unwrap(),
            shared: Shared::from_fn(100_000, |index| index as u32).unwrap(),
            memory: SharedMemory::create(None, 8).unwrap(),
        }
    }

    /// Uses each once, in what way it can.
    fn use_all(&self) {
        self.queue.put("item".to_owned()).unwrap();
        self.bounded.put(7).unwrap();
        self.tasks.put(7).unwrap();
        assert_eq!(self.tasks.get().unwrap(), 7);
        self.tasks.task_done().unwrap();
        let _permits = (
            self.semaphore.acquire().unwrap(),
            self.bounded_semaphore.acquire().unwrap(),
        );
        {
            let _guard = self.lock.lock().unwrap();
            let _outer = self.rlock.lock().unwrap();
            let _inner = self.rlock.lock().unwrap();
            let bytes = self.memory.as_atomics();
            let before = bytes[0].load(Ordering::SeqCst);
            bytes[0].store(before + 1, Ordering::SeqCst);
        }
        self.event.set();
        self.barrier.wait().unwrap();
        *self.value.lock().unwrap() += 1;
        self.array.lock().unwrap()[2] += 1;
        self.atomic.fetch_add(1, Ordering::SeqCst);
        assert_eq!(self.shared.len(), 100_000);
        assert!(
            (0..)
                .zip(&self.shared[..])
                .all(|(index, item)| index == *item)
        );
    }

    /// Checks that each was used so many times, and takes away what that left.
    #[track_caller]
    fn was_used(&self, times: usize) {
        assert_eq!((self.queue.len(), self.bounded.len()), (times, times));
        for _ in 0..times {
            assert_eq!(self.queue.get().unwrap(), "item");
            assert_eq!(self.bounded.get().unwrap(), 7);
        }
        assert_eq!(self.queue.try_get(), Err(TryGetError::Empty));
        self.tasks.join();
        assert_eq!(self.tasks.unfinished(), 0);
        assert_eq!(
            (self.semaphore.value(), self.bounded_semaphore.value()),
            (2, 2)
        );
        assert!(self.lock.try_lock().is_ok() && self.rlock.try_lock().is_ok());
        assert!(self.event.is_set() && !self.barrier.is_broken());
        let times = times as u64;
        assert_eq!(self.value.get().unwrap(), times);
        assert_eq!(self.array.to_vec().unwrap(), [0, 0, times as u16]);
        assert_eq!(self.atomic.load(Ordering::SeqCst), times);
        assert_eq!(
            self.memory.as_atomics()[0].load(Ordering::SeqCst),
            times as u8
        );
        self.memory.unlink().unwrap();
    }
}

#[mp::process_fn]
fn use_all(all: All) {
    all.use_all();
}

fn a_child_uses_all_objects_that_its_parent_made(method: StartMethod) {
    let all = All::new();
    all.use_all();
    value::<use_all>(method, all.clone());
    value::<use_all>(method, all.clone());
    all.was_used(3);
}

#[mp::process_fn]
fn make_all() -> All {
    let all = All::new();
    all.use_all();
    all
}

fn a_parent_uses_all_objects_that_its_child_made(method: StartMethod) {
    let all = value::<make_all>(method, ());
    all.use_all();
    value::<use_all>(method, all.clone());
    all.was_used(3);
}

/// Makes objects by one method, uses them by two others.
fn objects_are_made_by_one_and_used_by_another() {
    for [first, second] in pairs() {
        let all = value::<make_all>(first, ());
        let users = [
            start::<use_all>(second, all.clone()),
            start::<use_all>(first, all.clone()),
        ];
        users.into_iter().for_each(|user| user.join().unwrap());
        all.was_used(3);
    }
}

#[mp::process_fn]
fn use_often(all: All, go: Event, times: usize) {
    go.wait().unwrap();
    for _ in 0..times {
        all.use_all();
    }
}

/// One of each method, the tested one twice, and this process.
fn at_once<R>(
    method: StartMethod,
    mut begin: impl FnMut(StartMethod) -> Process<R>,
) -> Vec<Process<R>> {
    available()
        .into_iter()
        .chain([method])
        .map(&mut begin)
        .collect()
}

fn objects_are_used_between_siblings_of_all_methods_at_once(method: StartMethod) {
    const TIMES: usize = 20;
    let (all, go) = (All::new(), Event::new().unwrap());
    let users = at_once(method, |method| {
        start::<use_often>(method, (all.clone(), go.clone(), TIMES))
    });
    go.set();
    let number = users.len() + 1;
    use_often(all.clone(), go.clone(), TIMES);
    users.into_iter().for_each(|user| user.join().unwrap());
    all.was_used(number * TIMES);
}

#[mp::process_fn]
fn add_slowly(lock: Lock, number: Atomic<u64>, times: u64) {
    for _ in 0..times {
        let _guard = lock.lock().unwrap();
        // Two steps, between which another one could come.
        let before = number.load(Ordering::SeqCst);
        std::thread::yield_now();
        number.store(before + 1, Ordering::SeqCst);
    }
}

fn locks_exclude_each_other_whatever_the_methods(method: StartMethod) {
    let (lock, number) = (Lock::new().unwrap(), Atomic::new(0_u64).unwrap());
    let adders = at_once(method, |method| {
        start::<add_slowly>(method, (lock.clone(), number.clone(), 1000))
    });
    let all = adders.len() as u64 + 1;
    add_slowly(lock, number.clone(), 1000);
    adders.into_iter().for_each(|adder| adder.join().unwrap());
    assert_eq!(number.load(Ordering::SeqCst), 1000 * all);
}

#[mp::process_fn]
fn hold(lock: Lock, begun: Event) {
    let _guard = lock.lock().unwrap();
    begun.set();
    loop {
        std::thread::park();
    }
}

/// What the next owner of a lock is told.
#[mp::process_fn]
fn next_owner(lock: Lock) -> String {
    match lock.lock() {
        Ok(_) => "nothing".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn a_lock_whose_owner_is_killed_is_told_to_the_next(method: StartMethod) {
    for second in available() {
        let (lock, begun) = (Lock::new().unwrap(), Event::new().unwrap());
        let owner = by(method)
            .name("the owner")
            .spawn::<hold>((lock.clone(), begun.clone()))
            .unwrap();
        begun.wait().unwrap();
        let next = start::<next_owner>(second, lock.clone());
        owner.kill().unwrap();
        let told = next.join().unwrap();
        assert!(told.contains(&owner.id().to_string()), "{second}: {told}");
        assert!(told.contains("the owner"), "{second}: {told}");
        owner.join().unwrap_err();
        assert_eq!(value::<next_owner>(second, lock), "nothing", "it is mended");
    }
}

#[mp::process_fn]
fn wait_for_all(
    event: Event,
    condition: Condition,
    number: Value<u64>,
    semaphore: Semaphore,
    queue: Queue<u8>,
) -> u64 {
    event.wait().unwrap();
    let seen = *condition
        .wait_while(number.lock().unwrap(), |number| *number == 0)
        .unwrap();
    semaphore.acquire().unwrap().forget();
    seen + u64::from(queue.get().unwrap())
}

fn waiters_are_woken_whatever_the_methods(method: StartMethod) {
    let (event, condition) = (Event::new().unwrap(), Condition::new().unwrap());
    let (number, semaphore) = (Value::new(0).unwrap(), Semaphore::new(0).unwrap());
    let queue = Queue::new().unwrap();
    let waiters = at_once(method, |method| {
        let handles = (
            event.clone(),
            condition.clone(),
            number.clone(),
            semaphore.clone(),
            queue.clone(),
        );
        start::<wait_for_all>(method, handles)
    });
    event.set();
    number.set(3).unwrap();
    condition.notify_all();
    for _ in &waiters {
        semaphore.release().unwrap();
        queue.put(4).unwrap();
    }
    for waiter in waiters {
        assert_eq!(waiter.join().unwrap(), 7);
    }
}

#[mp::process_fn]
fn produce(queue: Queue<Vec<u8>>, number: u8) {
    for _ in 0..100 {
        queue.put(vec![number; 10_000]).unwrap();
    }
}

#[mp::process_fn]
fn consume(queue: Queue<Vec<u8>>) -> u64 {
    let items = (&queue).into_iter();
    items.map(|item| u64::from(item[9_999])).sum()
}

fn items_of_a_producer_that_has_ended_are_there(method: StartMethod) {
    let queue = Queue::new().unwrap();
    let producers = at_once(method, |method| {
        start::<produce>(method, (queue.clone(), 2))
    });
    let all = producers.len();
    producers
        .into_iter()
        .for_each(|producer| producer.join().unwrap());
    assert_eq!(queue.len(), 100 * all);
    queue.shutdown().unwrap();
    let consumers = at_once(method, |method| start::<consume>(method, queue.clone()));
    let sum: u64 = consumers
        .into_iter()
        .map(|consumer| consumer.join().unwrap())
        .sum();
    assert_eq!(sum, 200 * all as u64);
}

#[mp::process_fn]
fn write_to(mut file: Fd<File>, mut more: Vec<Option<Fd<UnixStream>>>) -> Fd<File> {
    file.write_all(b"child ").unwrap();
    for stream in more.iter_mut().flatten() {
        stream.write_all(b"stream").unwrap();
    }
    file
}

fn descriptors_are_passed(method: StartMethod) {
    let mut mine = file();
    mine.write_all(b"parent ").unwrap();
    let (stream, mut peer) = UnixStream::pair().unwrap();
    let passed = Fd::new(mine.try_clone().unwrap());
    let mut back = value::<write_to>(method, (passed, vec![None, Some(stream.into())]));
    back.write_all(b"again").unwrap();
    let mut text = String::new();
    mine.rewind().unwrap();
    mine.read_to_string(&mut text).unwrap();
    assert_eq!(text, "parent child again");
    let mut text = String::new();
    peer.read_to_string(&mut text).unwrap();
    assert_eq!(text, "stream", "and then nobody has the stream");
}

/// Writes its number to each, and tells how many descriptors this process has.
#[mp::process_fn]
fn write_numbers(files: Vec<Fd<File>>) -> usize {
    for (number, mut file) in (0_u16..).zip(files) {
        file.write_all(&number.to_le_bytes()).unwrap();
    }
    descriptors().len()
}

/// More than go at once over a socket.
/// A copy has the files that its parent has open, those among its arguments, too: what it is passed are duplicates.
fn inherits_files() {
    let mine = Fd::new(file());
    let seen = value::<links>(StartMethod::Fork, Fd::new(mine.try_clone().unwrap()));
    let files = seen.iter().filter(|link| link.contains("memfd:file"));
    assert_eq!(files.count(), 3, "the parent's two, and its own: {seen:?}");
}

#[mp::process_fn]
fn links(_file: Fd<File>) -> Vec<String> {
    descriptors()
}

fn many_descriptors_are_passed(method: StartMethod) {
    if method == StartMethod::Fork {
        return inherits_files();
    }
    for number in [0, 1, 252, 253, 254, 400] {
        let mine: Vec<_> = (0..number).map(|_| file()).collect();
        let few = value::<write_numbers>(method, Vec::new());
        let passed = mine.iter().map(|file| Fd::new(file.try_clone().unwrap()));
        let left = value::<write_numbers>(method, passed.collect());
        assert_eq!(left, few, "they are closed when they are dropped");
        for (number, mut file) in (0_u16..).zip(mine) {
            let mut bytes = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes, number.to_le_bytes(), "each is where it belongs");
        }
    }
}

#[mp::process_fn]
fn targets(_files: Vec<Fd<File>>) -> Vec<String> {
    descriptors()
}

/// A child that is started later does not have what an earlier one was given, nor what its parent still has.
fn descriptors_are_not_passed_twice(method: StartMethod) {
    if method == StartMethod::Fork {
        return inherits_files();
    }
    let count = |seen: Vec<String>| {
        let files = seen.iter().filter(|link| link.contains("memfd:file"));
        files.count()
    };
    let passed = |number| -> Vec<_> { (0..number).map(|_| Fd::new(file())).collect() };
    let kept = passed(3);
    // What its parent has open a copy has, too, as with any fork.
    let inherited = if method == StartMethod::Fork { 3 } else { 0 };
    for number in [0, 5, 0, 300, 1] {
        let seen = count(value::<targets>(method, passed(number)));
        assert_eq!(seen, number + inherited);
    }
    drop(kept);
    assert_eq!(count(value::<targets>(method, passed(2))), 2);
}

/// Drops a stream, and waits.
#[mp::process_fn]
fn drop_stream(stream: Fd<UnixStream>, dropped: Event, end: Event) {
    drop(stream);
    dropped.set();
    end.wait().unwrap();
}

fn streams_that_are_passed_are_in_nobody_else(method: StartMethod) {
    if method == StartMethod::Fork {
        return inherits_files();
    }
    let (stream, mut peer) = UnixStream::pair().unwrap();
    let (dropped, end) = (Event::new().unwrap(), Event::new().unwrap());
    let process = start::<drop_stream>(method, (stream.into(), dropped.clone(), end.clone()));
    dropped.wait().unwrap();
    peer.set_nonblocking(true).unwrap();
    assert_eq!(peer.read(&mut [0]).expect("the stream has ended"), 0);
    end.set();
    process.join().unwrap();
}

#[mp::process_fn]
fn keep(all: All, begun: Event, end: Event) {
    begun.set();
    end.wait().unwrap();
    std::mem::forget(all);
}

/// Dropped, forgotten or killed.
fn objects_are_given_back_at_the_end_of_who_has_them(method: StartMethod) {
    for kill in [false, true] {
        let before = mp::arena_stats().unwrap();
        let (all, begun) = (All::new(), Event::new().unwrap());
        let end = Event::new().unwrap();
        let process = start::<keep>(method, (all.clone(), begun.clone(), end.clone()));
        begun.wait().unwrap();
        all.memory.unlink().unwrap();
        drop(all);
        assert!(
            mp::arena_stats().unwrap().objects >= before.objects + 15,
            "the child has them"
        );
        if kill {
            process.kill().unwrap();
        } else {
            end.set();
        }
        process.wait();
        drop((process, begun, end));
        assert_eq!(mp::arena_stats().unwrap(), before);
    }
}

/// Uses all objects, and passes them on by the methods that are left.
#[mp::process_fn]
fn pass_on(all: All, methods: &str) -> All {
    all.use_all();
    match methods.split_once(' ') {
        Some((method, rest)) => value::<pass_on>(named(method), (all, rest)),
        None => all,
    }
}

fn objects_pass_through_many_hands(method: StartMethod) {
    let all = All::new();
    let methods: Vec<_> = available().into_iter().chain([method, method]).collect();
    let rest: String = methods[1..]
        .iter()
        .map(|method| format!("{method} "))
        .collect();
    let back = value::<pass_on>(methods[0], (all, &rest));
    back.was_used(methods.len());
}
