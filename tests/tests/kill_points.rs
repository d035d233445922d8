//! A process dies at each marked point of each thing that it may do, and nobody else is the worse for it.
//!
//! A child runs a script, and is killed at the first point that it passes; the next child at the second, and so on, until one
//! comes to the end. After each death the parent, which has the same objects, uses them, as does the next child.

mod common_shm;

use std::sync::atomic::Ordering;

use multiproc_tests::leaks::alone;
use serde::{Deserialize, Serialize};

/// The objects of a script.
#[derive(Clone, Serialize, Deserialize)]
struct Stage {
    queue: mp::Queue<Item>,
    files: mp::Queue<Vec<mp::Fd<std::fs::File>>>,
    bounded: mp::Queue<u64>,
    tasks: mp::JoinableQueue<Vec<u8>>,
    lock: mp::Lock,
    again: mp::RLock,
    value: mp::Value<[u64; 2]>,
    permits: mp::BoundedSemaphore,
    condition: mp::Condition,
    event: mp::Event,
    barrier: mp::Barrier,
    atomic: mp::Atomic<u64>,
}

/// Lies in a queue as a small message, as a parcel, as a parcel that names an object, or as one that was large from the beginning.
type Item = (u64, Vec<u8>, Option<mp::Value<u64>>);

fn items() -> [Item; 4] {
    let value = mp::Value::new(3).expect("making a value");
    [
        (1, vec![], None),
        (2, vec![2; 9000], None),
        (3, vec![], Some(value)),
        (4, vec![4; 50_000], None),
    ]
}

impl Stage {
    fn new() -> mp::Result<Self> {
        Ok(Self {
            queue: mp::Queue::new()?,
            files: mp::Queue::new()?,
            bounded: mp::Queue::bounded(2)?,
            tasks: mp::JoinableQueue::new()?,
            lock: mp::Lock::new()?,
            again: mp::RLock::new()?,
            value: mp::Value::new([0; 2])?,
            permits: mp::BoundedSemaphore::new(1)?,
            condition: mp::Condition::new()?,
            event: mp::Event::new()?,
            barrier: mp::Barrier::new(1)?,
            atomic: mp::Atomic::new(0)?,
        })
    }
}

fn put_and_get(stage: &Stage) {
    for item in items() {
        stage.queue.put(item).expect("putting");
    }
    for _ in 0..4 {
        stage.queue.get().expect("getting");
    }
    stage.bounded.put(1).expect("putting");
    stage.bounded.get().expect("getting");
}

fn outgrow(stage: &Stage) {
    // More than two rings hold.
    for _ in 0..30 {
        stage.queue.put((0, vec![7; 700], None)).expect("putting");
    }
    while stage.queue.try_get().is_ok() {}
}

fn do_tasks(stage: &Stage) {
    for length in [9, 9000] {
        stage.tasks.put(vec![1; length]).expect("putting");
        stage.tasks.get().expect("getting");
        stage.tasks.task_done().expect("one is there");
    }
}

fn lock_all(stage: &Stage) {
    let guard = stage.lock.lock().or_else(mp::LockError::into_guard);
    let outer = stage.again.lock().or_else(mp::LockError::into_guard);
    let inner = stage.again.lock().or_else(mp::LockError::into_guard);
    let mut value = stage
        .value
        .lock()
        .or_else(mp::LockError::into_guard)
        .expect("a guard");
    value[0] += 1;
    value[1] = value[0];
    drop((
        guard.expect("a guard"),
        outer.expect("a guard"),
        inner.expect("a guard"),
        value,
    ));
}

fn signal(stage: &Stage) {
    let permit = stage.permits.acquire().expect("the dead give it back");
    stage.condition.notify_one();
    stage.condition.notify_all();
    stage.event.set();
    stage.event.wait().expect("it is set");
    stage.event.clear();
    assert!(stage.barrier.wait().expect("it is whole").is_leader());
    stage.atomic.fetch_add(1, Ordering::Relaxed);
    drop(permit);
}

fn make_and_drop(_stage: &Stage) {
    let mut other = Stage::new().expect("making objects");
    for item in items() {
        other.queue.put(item).expect("putting");
    }
    // Objects that name each other, the first in the last.
    let queue = mp::Queue::new().expect("making a queue");
    queue.put(other.clone()).expect("putting");
    other = queue.get().expect("getting");
    queue.put(other).expect("putting");
    let data = mp::Shared::<[u64]>::from_fn(1000, |n| n as u64).expect("making data");
    assert_eq!(data.iter().sum::<u64>(), 499_500);
    // Large enough to be given back to the system, with all that is dirty.
    drop(mp::Array::<u8>::zeroed(3 << 20).expect("making an array"));
}

fn send_and_receive(stage: &Stage) {
    let (a, b) = mp::pipe::<(Item, Option<mp::Receiver<u32>>), u32>().expect("making a pipe");
    let (tx, rx) = mp::channel().expect("making a channel");
    let mut receiver = Some(rx);
    for item in items() {
        a.send((item, receiver.take())).expect("sending");
        let (item, receiver) = b.recv().expect("receiving");
        stage.queue.put(item).expect("putting");
        if let Some(receiver) = receiver {
            tx.send(7).expect("sending");
            assert_eq!(receiver.recv(), Ok(7));
        }
    }
    while stage.queue.try_get().is_ok() {}
}

#[mp::process_fn]
fn grandchild(stage: Stage) -> Vec<Item> {
    for item in items() {
        stage.queue.put(item).expect("putting");
    }
    items().into()
}

fn start(stage: &Stage) {
    let process = mp::spawn!(grandchild, stage.clone()).expect("spawning");
    assert_eq!(process.join().expect("it returns").len(), 4);
    while stage.queue.try_get().is_ok() {}
}

fn pass_files(stage: &Stage) {
    let file = || mp::Fd::new(std::fs::File::open("/dev/null").expect("it is there"));
    stage.files.put(vec![file(), file()]).expect("putting");
    stage.files.put(vec![file()]).expect("putting");
    assert_eq!(stage.files.get().expect("getting").len(), 2);
    assert_eq!(stage.files.get().expect("getting").len(), 1);
    // Nobody takes these.
    let dropped = mp::Queue::new().expect("making a queue");
    dropped.put(file()).expect("putting");
}

/// What a child does that is to die; by number, because functions do not travel.
const SCRIPTS: [fn(&Stage); 9] = [
    put_and_get,
    outgrow,
    do_tasks,
    lock_all,
    signal,
    make_and_drop,
    send_and_receive,
    start,
    pass_files,
];

#[mp::process_fn]
fn act(script: usize, stage: Stage, die_at: u64) {
    mp::__private::die_at(die_at);
    SCRIPTS[script](&stage);
    mp::__private::die_at(0);
}

/// Kills a child at each point of a script; every `step`-th if there are very many.
fn die_everywhere(script: usize, step: usize) {
    let stage = Stage::new().expect("making objects");
    let mut deaths = 0;
    for point in (1..).step_by(step) {
        let process = mp::spawn!(act, script, stage.clone(), point).expect("spawning");
        match process.join() {
            Ok(()) => break,
            Err(mp::ProcessError::Signaled { signal: 9, .. }) => deaths += 1,
            Err(error) => panic!("at point {point}: {error}"),
        }
        use_all(&stage, point);
    }
    eprintln!("{deaths} deaths");
    assert!(deaths > 5, "only {deaths} points were passed");
}

/// What is left works.
fn use_all(stage: &Stage, point: u64) {
    let queue = &stage.queue;
    while let Ok((number, bytes, value)) = queue.try_get() {
        match number {
            0 => assert_eq!(bytes, [7; 700]),
            1 => assert!(bytes.is_empty() && value.is_none()),
            2 => assert_eq!(bytes, [2; 9000]),
            4 => assert_eq!(bytes, [4; 50_000]),
            3 => assert_eq!(value.expect("one").get().expect("nobody locks it"), 3),
            _ => panic!("at point {point}: item {number}"),
        }
    }
    while let Ok(files) = stage.files.try_get() {
        assert!(!files.is_empty() && files.len() < 3, "at point {point}");
    }
    assert_eq!(
        mp::__private::waiting_descriptors().expect("counting"),
        0,
        "at point {point}"
    );
    while let Ok(number) = stage.bounded.try_get() {
        assert_eq!(number, 1);
    }
    put_and_get(stage);
    assert!(queue.is_empty() && stage.bounded.is_empty());
    while stage.tasks.try_get().is_ok() {
        stage.tasks.task_done().expect("one is there");
    }
    stage.tasks.join();
    lock_all(stage);
    let [first, second] = stage.value.get().expect("nobody dies");
    assert!(first == second, "at point {point}");
    signal(stage);
    assert_eq!(stage.permits.value(), 1);
    assert!(!stage.barrier.is_broken());
    assert_eq!(stage.barrier.waiting(), 0);
}

macro_rules! scripts {
    ($($name:ident: $script:expr, $step:expr;)*) => {$(
        #[mp::test]
        fn $name() {
            alone(|| die_everywhere($script, $step));
        }
    )*};
}

scripts! {
    putting_and_getting: 0, 1;
    growing_and_leaving_rings: 1, 3;
    taking_and_doing_tasks: 2, 1;
    locking: 3, 1;
    signalling: 4, 1;
    making_and_dropping_objects: 5, 5;
    sending_and_receiving: 6, 3;
    starting_processes: 7, 3;
    passing_files: 8, 3;
}
