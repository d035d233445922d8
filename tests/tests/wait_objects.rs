//! Waiting for several objects at once.

mod common_shm;

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use common_shm::LONG;
use mp::Waitable;
use multiproc_tests::leaks::{apart, check};
use multiproc_tests::processes::eventually;
use multiproc_tests::watchdog::Watchdog;
use rustix::fd::AsFd;
use rustix::process::Signal;

/// No index.
const NONE: [usize; 0] = [];
const SHORT: Duration = Duration::from_millis(20);

#[mp::process_fn]
fn wait_for(event: mp::Event) {
    event.wait().unwrap();
}

#[mp::test]
fn each_kind_is_ready_when_its_next_call_would_not_wait() {
    let _watchdog = Watchdog::new();
    let (queue, event, gate) = (
        mp::Queue::new().unwrap(),
        mp::Event::new().unwrap(),
        mp::Event::new().unwrap(),
    );
    let (a, b) = mp::pipe::<u32, u32>().unwrap();
    let (tx, rx) = mp::channel::<u32>().unwrap();
    let process = mp::spawn!(wait_for, gate.clone()).unwrap();
    let child: mp::ChildProcess = process.clone();
    let (mut out, into) = UnixStream::pair().unwrap();
    let borrowed = into.as_fd();
    let ready = |timeout| {
        let objects: [&dyn Waitable; 7] = [&queue, &event, &b, &rx, &process, &child, &borrowed];
        mp::wait(&objects, timeout).unwrap()
    };
    assert_eq!(ready(Some(Duration::ZERO)), NONE);
    assert_eq!(ready(Some(SHORT)), NONE);
    queue.put(7).unwrap();
    assert_eq!(ready(None), [0]);
    event.set();
    assert_eq!(ready(None), [0, 1]);
    a.send(7).unwrap();
    assert_eq!(ready(None), [0, 1, 2]);
    tx.send(7).unwrap();
    assert_eq!(ready(None), [0, 1, 2, 3]);
    gate.set();
    process.wait();
    assert_eq!(ready(None), [0, 1, 2, 3, 4, 5]);
    out.write_all(b"tea").unwrap();
    assert_eq!(ready(Some(LONG)), [0, 1, 2, 3, 4, 5, 6]);
    // Nothing was taken.
    assert_eq!((queue.get(), b.recv(), rx.recv()), (Ok(7), Ok(7), Ok(7)));
    event.clear();
    assert_eq!(ready(Some(SHORT)), [4, 5, 6]);
    queue.shutdown().unwrap();
    drop((a, tx));
    assert_eq!(ready(None), [0, 2, 3, 4, 5, 6]);
    process.join().unwrap();
}

#[mp::test]
fn a_process_that_was_joined_is_ready() {
    let _watchdog = Watchdog::new();
    let gate = mp::Event::new().unwrap();
    let process = mp::spawn!(wait_for, gate.clone()).unwrap();
    let child: mp::ChildProcess = process.clone();
    let (_a, b) = mp::pipe::<u32, u32>().unwrap();
    thread::scope(|scope| {
        let joined = scope.spawn(|| mp::wait(&[&b, &child, &child], None).unwrap());
        gate.set();
        process.join().unwrap();
        assert_eq!(joined.join().unwrap(), [1, 2]);
    });
    assert_eq!(mp::wait(&[&b, &child], None).unwrap(), [1]);
}

#[mp::process_fn]
fn wait_for_parent(queue: mp::Queue<u32>) -> Vec<usize> {
    let parent = mp::parent_process().unwrap();
    mp::wait(&[&parent, &queue], None).unwrap()
}

#[mp::test]
fn a_parent_can_be_waited_for() {
    let _watchdog = Watchdog::new();
    let queue = mp::Queue::new().unwrap();
    let child = mp::spawn!(wait_for_parent, queue.clone()).unwrap();
    queue.put(7).unwrap();
    assert_eq!(child.join().unwrap(), [1]);
}

#[mp::test]
fn what_is_named_twice_is_told_twice() {
    let _watchdog = Watchdog::new();
    let event = mp::Event::new().unwrap();
    let (a, b) = mp::pipe::<u32, u32>().unwrap();
    let wait = |timeout| mp::wait(&[&event, &b, &event, &b], timeout).unwrap();
    assert_eq!(wait(Some(SHORT)), NONE);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| wait(None));
        event.set();
        assert_eq!(waiting.join().unwrap(), [0, 2]);
    });
    a.send(7).unwrap();
    assert_eq!(wait(None), [0, 1, 2, 3]);
}

#[mp::test]
fn nothing_to_wait_for_is_the_time() {
    let _watchdog = Watchdog::new();
    let begin = Instant::now();
    assert_eq!(mp::wait(&[], Some(SHORT)).unwrap(), NONE);
    assert!(begin.elapsed() >= SHORT);
    assert_eq!(mp::wait(&[], None).unwrap(), NONE);
}

#[mp::test]
fn the_time_is_waited_for() {
    let _watchdog = Watchdog::new();
    let (queue, (_a, b)) = (
        mp::Queue::<u32>::new().unwrap(),
        mp::pipe::<u32, u32>().unwrap(),
    );
    let cases: [&[&dyn Waitable]; 3] = [&[&queue], &[&b], &[&queue, &b]];
    for objects in cases {
        let begin = Instant::now();
        assert_eq!(mp::wait(objects, Some(SHORT)).unwrap(), NONE);
        assert!(begin.elapsed() >= SHORT);
        assert_eq!(mp::wait(objects, Some(Duration::ZERO)).unwrap(), NONE);
    }
    queue.put(7).unwrap();
    // A time beyond what the clock can say.
    assert_eq!(mp::wait(&[&queue, &b], Some(Duration::MAX)).unwrap(), [0]);
}

/// A blink: nobody can say whether it was before the waiting or during it, so it is done until the waiting ends.
#[mp::test]
fn an_event_that_is_cleared_at_once_wakes() {
    let _watchdog = Watchdog::new();
    let (event, (_a, b)) = (mp::Event::new().unwrap(), mp::pipe::<u32, u32>().unwrap());
    let cases: [&[&dyn Waitable]; 2] = [&[&event], &[&event, &b]];
    for objects in cases {
        thread::scope(|scope| {
            let waiting = scope.spawn(|| mp::wait(objects, None).unwrap());
            while !waiting.is_finished() {
                event.set();
                event.clear();
                thread::yield_now();
            }
            assert_eq!(waiting.join().unwrap(), [0]);
        });
    }
}

/// Words that the caller sleeps on, words that a thread watches, and descriptors.
#[mp::test]
fn two_hundred_objects_are_waited_for_at_once() {
    let _watchdog = Watchdog::new();
    let queues: Vec<mp::Queue<u32>> = (0..100).map(|_| mp::Queue::new().unwrap()).collect();
    let events: Vec<_> = (0..60).map(|_| mp::Event::new().unwrap()).collect();
    let pipes: Vec<_> = (0..40).map(|_| mp::pipe::<u32, u32>().unwrap()).collect();
    let mut objects: Vec<&dyn Waitable> = Vec::new();
    objects.extend(queues.iter().map(|queue| queue as &dyn Waitable));
    objects.extend(events.iter().map(|event| event as &dyn Waitable));
    objects.extend(pipes.iter().map(|(_, b)| b as &dyn Waitable));
    assert_eq!(objects.len(), 200);
    for index in [0, 57, 99, 100, 126, 127, 128, 159, 160, 199] {
        let start = Barrier::new(2);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                start.wait();
                mp::wait(&objects, None).unwrap()
            });
            start.wait();
            // Sometimes it sleeps by then.
            thread::sleep(Duration::from_millis(index as u64 % 5));
            match index {
                0..100 => queues[index].put(7).unwrap(),
                100..160 => events[index - 100].set(),
                _ => pipes[index - 160].0.send(7).unwrap(),
            }
            assert_eq!(waiting.join().unwrap(), [index]);
        });
        match index {
            0..100 => drop(queues[index].get().unwrap()),
            100..160 => events[index - 100].clear(),
            _ => drop(pipes[index - 160].1.recv().unwrap()),
        }
    }
    assert_eq!(mp::wait(&objects, Some(SHORT)).unwrap(), NONE);
}

#[mp::process_fn]
fn add_what_comes(numbers: mp::Queue<u64>, more: mp::Receiver<u64>, end: mp::Event) -> (u64, u64) {
    let (mut sum, mut waits) = (0, 0);
    loop {
        let ready = mp::wait(&[&numbers, &more, &end], None).unwrap();
        waits += 1;
        if ready.contains(&0) {
            sum += numbers.try_get().unwrap();
        }
        if ready.contains(&1) {
            sum += more.try_recv().unwrap();
        }
        if ready == [2] {
            return (sum, waits);
        }
    }
}

#[mp::test]
fn nothing_is_missed_between_processes() {
    const COUNT: u64 = 2_000;
    let _watchdog = Watchdog::new();
    let (numbers, end) = (mp::Queue::new().unwrap(), mp::Event::new().unwrap());
    let (tx, rx) = mp::channel().unwrap();
    let adder = mp::spawn!(add_what_comes, numbers.clone(), rx, end.clone()).unwrap();
    for number in 0..COUNT {
        match number % 3 {
            0 => tx.send(number).unwrap(),
            _ => numbers.put(number).unwrap(),
        }
        if number % 7 == 0 {
            thread::sleep(Duration::from_micros(number % 200));
        }
    }
    end.set();
    let (sum, waits) = adder.join().unwrap();
    assert_eq!(sum, COUNT * (COUNT - 1) / 2);
    assert!(waits > 1);
}

/// Waits while signals come, which a handler of this process counts.
#[mp::process_fn]
fn wait_among_signals(ready: mp::Event, numbers: mp::Queue<u32>, more: mp::Receiver<u32>) -> u32 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _runtime = runtime.enter();
    let kind = tokio::signal::unix::SignalKind::user_defined1();
    let mut signals = tokio::signal::unix::signal(kind).unwrap();
    ready.set();
    let mut sum = 0;
    for objects in [[&numbers as &dyn Waitable].as_slice(), &[&numbers, &more]] {
        assert_eq!(mp::wait(objects, None).unwrap(), [0]);
        sum += numbers.get().unwrap();
    }
    assert_eq!(mp::wait(&[&more], None).unwrap(), [0]);
    runtime.block_on(signals.recv()).unwrap();
    sum + more.recv().unwrap()
}

#[mp::test]
fn signals_do_not_disturb() {
    let _watchdog = Watchdog::new();
    let (ready, numbers) = (mp::Event::new().unwrap(), mp::Queue::new().unwrap());
    let (tx, rx) = mp::channel().unwrap();
    let child = mp::spawn!(wait_among_signals, ready.clone(), numbers.clone(), rx).unwrap();
    ready.wait().unwrap();
    let signal = || {
        for _ in 0..50 {
            rustix::process::pidfd_send_signal(&child, Signal::USR1).unwrap();
            thread::sleep(Duration::from_micros(200));
        }
    };
    signal();
    numbers.put(1).unwrap();
    signal();
    numbers.put(2).unwrap();
    signal();
    tx.send(4).unwrap();
    assert_eq!(child.join().unwrap(), 7);
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

#[mp::test]
fn many_waits_leave_nothing() {
    apart(|| {
        let queues: Vec<mp::Queue<u32>> = (0..130).map(|_| mp::Queue::new().unwrap()).collect();
        let (a, b) = mp::pipe::<u32, u32>().unwrap();
        let mut objects: Vec<&dyn Waitable> = vec![&b];
        objects.extend(queues.iter().map(|queue| queue as &dyn Waitable));
        let wait = || {
            assert_eq!(
                mp::wait(&objects, Some(Duration::from_millis(1))).unwrap(),
                NONE
            )
        };
        // The first one starts two threads.
        let before = threads();
        wait();
        assert_eq!(threads(), before + 2);
        check(|| (0..200).for_each(|_| wait()));
        check(|| {
            a.send(7).unwrap();
            assert_eq!(mp::wait(&objects, None).unwrap(), [0]);
            b.recv().unwrap();
        });
        assert_eq!(threads(), before + 2);
    });
}

/// The bits of the signals that a thread blocks.
fn blocked(thread: &Path) -> u64 {
    let status = fs::read_to_string(thread.join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
    u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
}

/// A thread of this process by its name, which it gives to itself after its start.
fn thread_named(name: &str) -> Option<PathBuf> {
    let mut threads = fs::read_dir("/proc/self/task").unwrap();
    threads.find_map(|thread| {
        let thread = thread.unwrap().path();
        let its = fs::read_to_string(thread.join("comm")).unwrap();
        (its.trim() == name).then_some(thread)
    })
}

#[mp::test]
fn no_signal_handler_runs_on_the_threads_of_the_library() {
    apart(|| {
        let here = Path::new("/proc/thread-self");
        let before = blocked(here);
        let queues: Vec<mp::Queue<u32>> = (0..130).map(|_| mp::Queue::new().unwrap()).collect();
        let (_a, b) = mp::pipe::<u32, u32>().unwrap();
        let mut objects: Vec<&dyn Waitable> = vec![&b];
        objects.extend(queues.iter().map(|queue| queue as &dyn Waitable));
        assert_eq!(mp::wait(&objects, Some(SHORT)).unwrap(), NONE);
        for name in ["mp-words", "mp-files"] {
            let thread = eventually(|| thread_named(name)).expect("it was started");
            for signal in [Signal::INT, Signal::TERM, Signal::USR1, Signal::ALARM] {
                let bit = 1 << (signal.as_raw() - 1);
                assert!(blocked(&thread) & bit != 0, "{name}: {signal:?}");
            }
        }
        assert_eq!(blocked(here), before);
    });
}
