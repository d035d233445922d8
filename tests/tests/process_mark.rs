//! The variable by which a child knows its order, set by hand: the program stops, says why, and harms nobody.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process::Command;

use mp::{ProcessError, Ran};
use multiproc_tests::leaks::alone;
use multiproc_tests::program::{Folder, run};
use multiproc_tests::watchdog::Watchdog;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

const VARIABLE: &str = "MULTIPROC_CHILD";

/// Starts a program with this mark, and checks that it stops at once; gives what it says.
#[track_caller]
fn stops(mark: &str) -> String {
    stops_as(&mut Command::new(env!("CARGO_BIN_EXE_plain")), mark)
}

#[track_caller]
fn stops_as(command: &mut Command, mark: &str) -> String {
    let ended = run(command.env(VARIABLE, mark)).nothing_left().code(70);
    assert!(!ended.stdout.contains("42"), "main ran: {ended:?}");
    for words in ["multiproc: ", VARIABLE, mark, "unset it"] {
        assert!(ended.stderr.contains(words), "{words}: {ended:?}");
    }
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    ended.stderr
}

/// A descriptor that programs started from here inherit.
fn inheritable(fd: impl AsFd) -> OwnedFd {
    rustix::io::dup(fd).unwrap()
}

fn sealed(size: u64, seals: SealFlags, content: &[u8]) -> OwnedFd {
    let mut file = File::from(memfd_create("sealed", MemfdFlags::ALLOW_SEALING).unwrap());
    ftruncate(&file, size).unwrap();
    file.write_all(content).unwrap();
    fcntl_add_seals(&file, seals).unwrap();
    file.into()
}

fn library_seals() -> SealFlags {
    SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL
}

#[test]
fn garbage_is_no_mark() {
    let _watchdog = Watchdog::new();
    let long = "1:".repeat(20_000);
    for mark in [
        "",
        "1",
        "x",
        "::",
        "1:2",
        "1:2:0",
        "1:2:0:3",
        "1:2:0:3:4:5",
        "1:2:1:3:4:5:6",
        "1:2:0:3:4:5:",
        "1:2:0:3:4:5:x",
        "1:2:0:3:4:5:3",
        "1:2:0:0:1:3:4",
        "1:2:0:-3:4:5:6",
        "1:2:0: 3: 4: 5: 6",
        "1:2:0:3:4:5:99999999999999999999",
        "18446744073709551616:2:0:3:4:5:6",
        "-1:2:0:3:4:5:6",
        "1;2;0;3;4;5;6",
        "🦀:2:0:3:4:5:6",
        "a line\u{85}of text",
        &long,
    ] {
        let text = stops(mark);
        assert!(text.contains("no mark"), "{mark}: {text}");
    }
}

#[test]
fn what_is_no_text_is_no_mark() {
    use std::os::unix::ffi::OsStrExt;
    let _watchdog = Watchdog::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_plain"));
    command.env(VARIABLE, std::ffi::OsStr::from_bytes(b"1:2:0:\xff:4:5:6"));
    let ended = run(&mut command).nothing_left().code(70);
    assert!(ended.stderr.contains(VARIABLE), "{ended:?}");
}

#[test]
fn closed_descriptors_are_no_tree() {
    let _watchdog = Watchdog::new();
    for mark in [
        "4096:1:0:300:301:302:303",
        "4096:1:1:300:301:302:303:304",
        "0:0:0:300:301:302:303",
        "18446744073709551615:18446744073709551615:0:300:301:302:2147483647",
    ] {
        let text = stops(mark);
        assert!(
            text.contains("descriptor") && text.contains("is not there"),
            "{text}"
        );
    }
}

#[mp::test]
fn other_descriptors_are_no_tree() {
    let folder = Folder::new();
    let path = folder.path().join("file");
    std::fs::write(&path, vec![0; 1 << 20]).unwrap();
    alone(|| {
        let file = inheritable(File::options().read(true).write(true).open(&path).unwrap());
        let null = inheritable(File::open("/dev/null").unwrap());
        let directory = inheritable(File::open("/").unwrap());
        let (socket, _peer) = UnixStream::pair().unwrap();
        let socket = inheritable(socket);
        let (pipe, _writer) = rustix::pipe::pipe().unwrap();
        let memory = memfd_create("plain", MemfdFlags::empty()).unwrap();
        ftruncate(&memory, 1 << 20).unwrap();

        let half = sealed(1 << 20, SealFlags::SHRINK | SealFlags::GROW, b"multipro");
        let zeroes = sealed(1 << 20, library_seals(), &[]);
        let huge = sealed(1 << 60, library_seals(), b"multipro");
        let read_only = sealed(1 << 20, library_seals() | SealFlags::WRITE, b"");
        let (empty, small) = (
            sealed(0, library_seals(), &[]),
            sealed(64, library_seals(), b"multipro"),
        );
        let layout = sealed(
            1 << 20,
            library_seals(),
            b"multipro\xff\xff\xff\xff\xff\xff\xff\xff",
        );
        let mut bytes = vec![0; 1 << 20];
        std::io::Read::read_exact(&mut File::open("/dev/urandom").unwrap(), &mut bytes).unwrap();
        let random = sealed(1 << 20, library_seals(), &bytes);

        let depot = Depot::new();

        let not_shared_memory = [
            &file, &null, &directory, &socket, &pipe, &memory, &half, &zeroes, &huge, &read_only,
            &empty, &small, &layout, &random,
        ];
        let parent = null.as_raw_fd();
        for (index, fd) in not_shared_memory.into_iter().enumerate() {
            let parent = if index == 1 { file.as_raw_fd() } else { parent };
            let fd = fd.as_raw_fd();
            let no_tree = "not that of a tree of processes";
            for (mark, words) in [
                (format!("4096:1:0:{fd}:{depot}:{parent}"), no_tree),
                // An isolated process has no tree.
                (
                    format!("0:0:0:{fd}:{depot}:{parent}"),
                    "not that of an order",
                ),
                (format!("{}:1:0:{fd}:{depot}:{parent}", 1 << 19), no_tree),
                (
                    format!("{}:{}:0:{fd}:{depot}:{parent}", u64::MAX, u64::MAX),
                    no_tree,
                ),
            ] {
                let text = stops(&mark);
                assert!(text.contains(words), "{index}: {text}");
            }
        }
        // With a standard output to restore, which is then the only one that is heard.
        let mark = format!(
            "4096:1:1:{}:{depot}:{parent}:{}",
            zeroes.as_raw_fd(),
            memory.as_raw_fd()
        );
        stops(&mark);
        // A tree that was one once: nothing in it is known.
        let mark = format!("4096:1:0:{}:{depot}:{parent}", zeroes.as_raw_fd());
        let mut by_hand = Command::new(env!("CARGO_BIN_EXE_half_initialized"));
        stops_as(by_hand.env("FIRST", "1"), &mark);
        // The memory of a tree, and with it what cannot bring descriptors.
        let arena = own_arena();
        let arena = arena.as_raw_fd();
        let (null, file) = (null.as_raw_fd(), file.as_raw_fd());
        for depot in [format!("{null}:{file}"), format!("{file}:{null}")] {
            let text = stops(&format!(
                "4096:1:0:{arena}:{depot}:{}",
                directory.as_raw_fd()
            ));
            assert!(text.contains("not that of a tree of processes"), "{text}");
        }
    });
}

/// Two sockets that programs started from here inherit; as a text, their numbers.
struct Depot(OwnedFd, OwnedFd);

impl Depot {
    fn new() -> Self {
        let (entrance, exit) = UnixStream::pair().unwrap();
        Self(inheritable(entrance), inheritable(exit))
    }
}

impl std::fmt::Display for Depot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.0.as_raw_fd(), self.1.as_raw_fd())
    }
}

/// The memory of this process's tree, as a descriptor that programs started from here inherit.
fn own_arena() -> OwnedFd {
    let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let is_arena = |path: &std::path::PathBuf| {
        std::fs::read_link(path)
            .is_ok_and(|target| target.display().to_string().contains("memfd:multiproc"))
    };
    let path = links.map(|link| link.path()).find(is_arena).unwrap();
    inheritable(File::options().read(true).write(true).open(path).unwrap())
}

/// The mark that a child of this process was started with: its record's place and serial number.
fn mark_of(pid: u32) -> (u64, u64) {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    let mut variables = environment.split(|byte| *byte == 0);
    let prefix = format!("{VARIABLE}=");
    let mark = variables
        .find_map(|variable| variable.strip_prefix(prefix.as_bytes()))
        .unwrap();
    let mark = std::str::from_utf8(mark).unwrap();
    let mut numbers = mark.split(':').map(|number| number.parse::<u64>().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

#[mp::process_fn]
fn hold(lock: mp::Lock, ready: mp::Event, release: mp::Event, queue: mp::Queue<String>) -> usize {
    let _guard = lock.lock().unwrap();
    ready.set();
    release.wait().unwrap();
    queue.get().unwrap().len()
}

#[mp::test]
fn records_of_a_living_tree_are_not_taken_by_others() {
    alone(|| {
        let (lock, queue) = (mp::Lock::new().unwrap(), mp::Queue::new().unwrap());
        let (ready, release) = (mp::Event::new().unwrap(), mp::Event::new().unwrap());
        queue.put("a message".repeat(1000)).unwrap();
        let child = mp::spawn!(
            hold,
            lock.clone(),
            ready.clone(),
            release.clone(),
            queue.clone()
        )
        .unwrap();
        ready.wait().unwrap();
        let (place, serial) = mark_of(child.id());
        // One that has ended, and is not joined yet, and one that is.
        let ended = mp::spawn!(hold_nothing).unwrap();
        ended.wait();
        let joined = mp::spawn!(hold_nothing).unwrap();
        let marks = mp::Queue::new().unwrap();
        let ended_mark = mp::spawn!(tell_mark, marks.clone()).unwrap();
        ended_mark.wait();
        let ended_mark_numbers: (u64, u64) = marks.get().unwrap();
        let gone = mp::spawn!(tell_mark, marks.clone()).unwrap();
        gone.join().unwrap();
        let gone: (u64, u64) = marks.get().unwrap();
        joined.join().unwrap();

        let arena = own_arena();
        let parent = inheritable(File::open("/dev/null").unwrap());
        let depot = Depot::new();
        let fds = format!("{}:{depot}:{}", arena.as_raw_fd(), parent.as_raw_fd());
        let stats = mp::arena_stats().unwrap();
        let mut cases = vec![
            ((place, serial), "taken already"),
            (ended_mark_numbers, "taken already"),
            (gone, ""),
            ((place, serial + 1), "another process"),
            ((place, serial - 1), "another process"),
            ((place, 0), "another process"),
            // It stands for an isolated process, which has its order in a file.
            ((0, 0), "not that of an order"),
            ((u64::MAX, serial), "gone"),
            ((u64::MAX - 7, serial), "gone"),
            ((stats.capacity, serial), "gone"),
        ];
        for step in [1, 8, 16, 64, 4096] {
            cases.extend([
                ((place + step, serial), "gone"),
                ((place - step, serial), "gone"),
            ]);
        }
        let mut seed = serial | 1;
        for _ in 0..20 {
            seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ place;
            let random = (seed >> 13) % stats.capacity / 16 * 16;
            cases.push(((random, serial), "gone"));
        }
        for ((place, serial), words) in cases {
            let text = stops(&format!("{place}:{serial}:0:{fds}"));
            assert!(text.contains(words), "{place}:{serial}, {words}: {text}");
            assert_eq!(mp::arena_stats().unwrap(), stats, "{place}:{serial}");
        }

        // The tree is unharmed.
        assert!(child.is_alive() && lock.try_lock().is_err());
        release.set();
        assert_eq!(child.join().unwrap(), 9000);
        drop(lock.lock().unwrap());
        ended.join().unwrap();
        ended_mark.join().unwrap();
        drop((arena, depot, parent));
    });
}

#[mp::process_fn]
fn hold_nothing() {}

#[mp::process_fn]
fn tell_mark(marks: mp::Queue<(u64, u64)>) {
    marks.put(mark_of(std::process::id())).unwrap();
}

/// An order is for one process, even if the program that was started for it starts two.
#[mp::test]
fn an_order_is_taken_once() {
    let folder = Folder::new();
    let binary = std::env::current_exe().unwrap();
    let log = folder.path().join("log");
    let script = folder.script(
        "twice",
        &format!(
            "#!/bin/sh\n'{0}' \"$@\"\nfirst=$?\n'{0}' \"$@\" 2>'{1}'\necho $first $? >>'{1}'\nexit 0\n",
            binary.display(),
            log.display()
        ),
    );
    alone(|| {
        mp::set_executable(&script);
        let process = mp::spawn!(hold_nothing).unwrap();
        mp::set_executable("/proc/self/exe");
        process.join().unwrap();
        let text = std::fs::read_to_string(&log).unwrap();
        assert!(
            text.contains("taken already") && text.contains(VARIABLE),
            "{text}"
        );
        assert!(text.ends_with("0 70\n"), "{text}");
    });
}

#[mp::process_fn]
fn panic() {
    panic!("in one of two");
}

/// Two processes race for one order: one runs, the other says that it is too late.
#[mp::test]
fn of_two_processes_with_one_order_one_runs() {
    let folder = Folder::new();
    let binary = std::env::current_exe().unwrap();
    let log = folder.path().join("log");
    let script = folder.script(
        "both",
        &format!(
            "#!/bin/sh\n'{0}' \"$@\" 2>>'{1}' &\n'{0}' \"$@\" 2>>'{1}'\nfirst=$?\nwait $!\necho $first $? >>'{1}'\n",
            binary.display(),
            log.display()
        ),
    );
    alone(|| {
        for _ in 0..20 {
            mp::set_executable(&script);
            let fails = mp::spawn!(panic).unwrap();
            let error = fails.join().unwrap_err();
            let ProcessError::Panicked(panic) = &error else {
                panic!("{error:?}")
            };
            assert_eq!(
                (panic.message(), error.ran()),
                ("in one of two", Ran::Partly)
            );
            let text = std::fs::read_to_string(&log).unwrap();
            let codes = text.lines().last().unwrap();
            assert!(["101 70", "70 101"].contains(&codes), "{text}");
            assert!(text.contains("taken"), "{text}");
            mp::set_executable("/proc/self/exe");
            mp::spawn!(hold_nothing).unwrap().join().unwrap();
        }
    });
}

/// A test binary says it, too, whether or not the test harness captures what tests say.
#[mp::test]
fn a_test_with_a_mark_stops_and_is_heard() {
    let _watchdog = Watchdog::new();
    let binary = std::env::current_exe().unwrap();
    for option in ["--nocapture", "--quiet"] {
        let mut command = Command::new(&binary);
        command.args(["a_test_with_a_mark_stops_and_is_heard", "--exact", option]);
        stops_as(&mut command, "garbage");
    }
}
