//! Few descriptors, many processes, large values.

use std::collections::BTreeSet;
use std::fs::File;

use mp::Error;
use multiproc_tests::leaks::{alone, apart, nothing};
use multiproc_tests::processes::{children, descriptors};
use rustix::fd::OwnedFd;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many descriptors a process may have in these tests.
const FEW: u64 = 32;

/// Lowers the number of descriptors that this process may have until it is dropped.
struct Limited(Rlimit);

impl Limited {
    fn new() -> Self {
        let before = getrlimit(Resource::Nofile);
        let limit = Rlimit {
            current: Some(FEW),
            maximum: before.maximum,
        };
        setrlimit(Resource::Nofile, limit).unwrap();
        Self(before)
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.0).unwrap();
    }
}

/// Opens files until `free` more can be opened.
fn fill(free: usize) -> Vec<OwnedFd> {
    let mut held: Vec<OwnedFd> = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        held.push(file.into());
    }
    assert!(
        held.len() > free,
        "{} are in use",
        FEW as usize - held.len()
    );
    held.truncate(held.len() - free);
    held
}

const TOO_MANY: &str = "Too many open files";

#[mp::process_fn]
fn wait(release: mp::Event) {
    release.wait().unwrap();
}

#[mp::process_fn]
fn send_back(connection: mp::Connection<u32, u32>) {
    connection.send(connection.recv().unwrap() + 1).unwrap();
}

#[mp::test]
fn processes_are_started_until_descriptors_run_out() {
    alone(|| {
        let release = mp::Event::new().unwrap();
        let limited = Limited::new();
        for _ in 0..2 {
            release.clear();
            let mut processes = Vec::new();
            let error = loop {
                match mp::spawn!(wait, release.clone()) {
                    Ok(process) => processes.push(process),
                    Err(error) => break error,
                }
            };
            assert!(matches!(error, Error::Start { .. }), "{error:?}");
            let text = error.to_string();
            for words in ["cannot start a process", "process_limits::wait", TOO_MANY] {
                assert!(text.contains(words), "{words}: {text}");
            }
            assert!(processes.len() > 10, "{}: {text}", processes.len());
            assert_eq!(mp::active_children().len(), processes.len());
            assert_eq!(
                mp::arena_stats().unwrap().processes,
                1 + processes.len() as u64,
                "the process that was not started has no record"
            );
            release.set();
            for process in processes {
                process.join().unwrap();
            }
        }
        mp::spawn!(nothing).unwrap().join().unwrap();
        drop(limited);
    });
}

#[mp::test]
fn pipes_are_made_until_descriptors_run_out() {
    alone(|| {
        let limited = Limited::new();
        for _ in 0..2 {
            let mut pipes = Vec::new();
            let error = loop {
                match mp::pipe::<u32, u32>() {
                    Ok(pipe) => pipes.push(pipe),
                    Err(error) => break error,
                }
            };
            let text = error.to_string();
            assert!(matches!(error, Error::Os { .. }), "{error:?}");
            assert!(text.contains("pipe") && text.contains(TOO_MANY), "{text}");
            assert!(pipes.len() > 5, "{}: {text}", pipes.len());
            assert_eq!(mp::arena_stats().unwrap().objects, pipes.len() as u64);
            for (number, (a, b)) in (0..).zip(&pipes) {
                a.send(number).unwrap();
                assert_eq!(b.recv().unwrap(), number, "those that are there work");
            }
        }
        drop(limited);
    });
}

/// What can be made without a descriptor can be made when there is none.
#[mp::test]
fn objects_need_no_descriptors() {
    alone(|| {
        let limited = Limited::new();
        let held = fill(0);
        let queue = mp::Queue::new().unwrap();
        queue
            .put((mp::Lock::new().unwrap(), vec![1; 1000]))
            .unwrap();
        let (lock, bytes) = queue.get().unwrap();
        drop(lock.lock().unwrap());
        assert_eq!(bytes.len(), 1000);
        drop((held, limited));
    });
}

/// Whatever number of descriptors is free: a start either works, or says what is missing and leaves nothing.
fn starts_work_or_leave_nothing(stdio: fn() -> mp::Stdio) {
    let limited = Limited::new();
    let (mut failed, mut worked) = (0, 0);
    for free in 0..14 {
        let before = (mp::arena_stats().unwrap(), descriptors());
        let (mine, its) = mp::pipe::<u32, u32>().unwrap();
        let held = fill(free);
        let builder = mp::Builder::new()
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio());
        let started = builder.spawn::<send_back>(its);
        let result = match started {
            Ok(process) => {
                worked += 1;
                mine.send(1).unwrap();
                let received = mine.recv();
                process.join().map(|()| assert_eq!(received.unwrap(), 2))
            }
            Err(error) => {
                failed += 1;
                let text = error.to_string();
                for words in ["process_limits::send_back", TOO_MANY, "cannot "] {
                    assert!(text.contains(words), "{free} free, {words}: {text}");
                }
                Ok(())
            }
        };
        drop(held);
        result.unwrap_or_else(|error| panic!("{free} free: {error}"));
        drop(mine);
        assert_eq!(children(), [], "{free} free");
        assert_eq!(
            (mp::arena_stats().unwrap(), descriptors()),
            before,
            "{free} free"
        );
    }
    assert!(failed > 0 && worked > 0, "{failed} failed, {worked} worked");
    drop(limited);
}

#[mp::test]
fn a_start_with_few_free_descriptors_works_or_leaves_nothing() {
    alone(|| starts_work_or_leave_nothing(mp::Stdio::inherit));
}

#[mp::test]
fn a_start_with_few_free_descriptors_and_no_streams_works_or_leaves_nothing() {
    alone(|| starts_work_or_leave_nothing(mp::Stdio::null));
}

#[mp::test]
fn a_start_with_few_free_descriptors_and_pipes_works_or_leaves_nothing() {
    alone(|| starts_work_or_leave_nothing(mp::Stdio::piped));
}

#[mp::test]
fn a_start_with_few_free_descriptors_and_standard_streams_works_or_leaves_nothing() {
    alone(|| starts_work_or_leave_nothing(|| std::process::Stdio::null().into()));
}

/// Before there is an arena.
#[mp::test]
fn a_first_use_without_descriptors_can_be_repeated() {
    apart(|| {
        let limited = Limited::new();
        for free in [0, 1] {
            let held = fill(free);
            for result in [
                mp::spawn!(nothing).map(drop),
                mp::pipe::<u32, u32>().map(drop),
                mp::Lock::new().map(drop),
            ] {
                let Err(error) = result else {
                    assert!(free > 0, "something needs no descriptor");
                    continue;
                };
                let text = error.to_string();
                assert!(text.contains("cannot") && text.contains(TOO_MANY), "{text}");
            }
            drop(held);
        }
        mp::spawn!(nothing).unwrap().join().unwrap();
        assert_eq!(mp::arena_stats().unwrap().processes, 1);
        drop(limited);
    });
}

/// A child at its limit.
#[mp::process_fn]
fn run_out() -> String {
    let _limited = Limited::new();
    let held = fill(0);
    let first = mp::spawn!(nothing).map(drop).unwrap_err().to_string();
    drop(held);
    mp::spawn!(nothing).unwrap().join().unwrap();
    first
}

#[mp::test]
fn a_child_that_runs_out_of_descriptors_says_so() {
    alone(|| {
        let text = mp::spawn!(run_out).unwrap().join().unwrap();
        assert!(
            text.contains("multiproc_tests.nothing") && text.contains(TOO_MANY),
            "{text}"
        );
    });
}

#[mp::process_fn]
fn add_one(number: u32) -> u32 {
    number + 1
}

#[mp::test]
fn a_thousand_processes_one_after_the_other() {
    alone(|| {
        let stats = mp::arena_stats().unwrap();
        for number in 0..1000 {
            let process = mp::spawn!(add_one, number).unwrap();
            assert_eq!(process.join().unwrap(), number + 1);
            assert_eq!(mp::arena_stats().unwrap(), stats, "after {number}");
        }
        assert_eq!(children(), []);
    });
}

#[mp::process_fn]
fn arrive(number: u32, arrived: mp::Queue<u32>, release: mp::Event) -> u32 {
    arrived.put(number).unwrap();
    release.wait().unwrap();
    number
}

#[mp::test]
fn two_hundred_processes_at_once() {
    const NUMBER: u32 = 200;
    alone(|| {
        let (arrived, release) = (mp::Queue::new().unwrap(), mp::Event::new().unwrap());
        let processes: Vec<_> = (0..NUMBER)
            .map(|number| mp::spawn!(arrive, number, arrived.clone(), release.clone()).unwrap())
            .collect();
        let numbers: BTreeSet<u32> = (0..NUMBER).map(|_| arrived.get().unwrap()).collect();
        assert_eq!(numbers, (0..NUMBER).collect());
        assert_eq!(mp::arena_stats().unwrap().processes, 1 + u64::from(NUMBER));
        assert_eq!(mp::active_children().len(), NUMBER as usize);
        let ids: BTreeSet<u32> = processes.iter().map(|process| process.id()).collect();
        assert_eq!(ids.len(), NUMBER as usize);
        release.set();
        for (number, process) in (0..).zip(processes) {
            assert_eq!(process.join().unwrap(), number);
        }
    });
}

/// Nobody joins them but the parent's later starts.
#[mp::test]
fn two_hundred_processes_that_nobody_joins() {
    alone(|| {
        let (arrived, release) = (mp::Queue::new().unwrap(), mp::Event::new().unwrap());
        for number in 0..200 {
            drop(mp::spawn!(arrive, number, arrived.clone(), release.clone()).unwrap());
        }
        for _ in 0..200 {
            arrived.get().unwrap();
        }
        release.set();
        for child in mp::active_children() {
            child.wait();
        }
        mp::spawn!(nothing).unwrap().join().unwrap();
        assert_eq!(children(), []);
    });
}

/// Returns what it was given, between two marks.
#[mp::process_fn]
fn echo(before: u32, bytes: Vec<u8>, after: u32) -> (u32, Vec<u8>, u32) {
    (before, bytes, after)
}

/// Takes without copying, and returns nothing but the size.
#[mp::process_fn]
fn weigh(bytes: &[u8]) -> usize {
    bytes.len()
}

#[mp::process_fn]
fn make(length: usize) -> Vec<u8> {
    pattern(length)
}

/// Bytes whose places can be told apart, made fast without optimisation, too.
fn pattern(length: usize) -> Vec<u8> {
    let block: Vec<u8> = (0..=255).cycle().take(65521).collect();
    let mut bytes = block.repeat(length.div_ceil(block.len()));
    bytes.truncate(length);
    bytes
}

#[track_caller]
fn crosses(length: usize) {
    let stats = mp::arena_stats().unwrap();
    let bytes = pattern(length);
    assert_eq!(mp::spawn!(weigh, &bytes).unwrap().join().unwrap(), length);
    let made = mp::spawn!(make, length).unwrap().join().unwrap();
    assert!(made == bytes, "the value is another");
    drop(made);
    let (before, back, after) = mp::spawn!(echo, 1, bytes.clone(), 2)
        .unwrap()
        .join()
        .unwrap();
    assert_eq!((before, after), (1, 2));
    assert!(back == bytes, "the value is another");
    assert_eq!(mp::arena_stats().unwrap(), stats);
}

#[mp::test]
fn values_of_any_ordinary_size_cross() {
    alone(|| {
        for length in [0, 1, 127, 128, 4095, 4096, 65535, 65536, 1_000_000, 1 << 20] {
            crosses(length);
        }
    });
}

#[mp::test]
fn values_of_half_a_gigabyte_cross() {
    alone(|| crosses(500_000_000));
}

/// A large value that nobody takes, and a large argument of a child that ends before it takes it.
#[mp::test]
fn large_values_that_nobody_takes_are_freed() {
    alone(|| {
        let length = 100_000_000;
        let process = mp::spawn!(make, length).unwrap();
        process.wait();
        assert!(mp::arena_stats().unwrap().used > length as u64);
        drop(process);
        mp::set_executable("/bin/true");
        let process = mp::spawn!(weigh, &pattern(length)).unwrap();
        mp::set_executable("/proc/self/exe");
        process.join().unwrap_err();
        assert!(mp::arena_stats().unwrap().used < length as u64);
    });
}
