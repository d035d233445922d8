//! Memory with a name.

mod common_shm;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::atomic::Ordering;

use common_shm::{Random, kill, kills};
use mp::{Error, SharedMemory};
use multiproc_tests::leaks::alone;
use serde::{Deserialize, Serialize};

/// A name that no other test uses, nor another run of this one.
fn fresh(what: &str) -> String {
    format!("mp_test_{what}_{}", std::process::id())
}

fn make(size: usize) -> SharedMemory {
    SharedMemory::create(None, size).expect("making memory")
}

#[track_caller]
fn fails<T: std::fmt::Debug>(result: mp::Result<T>, kind: ErrorKind, words: &str) {
    match result.expect_err("it fails") {
        Error::Os { what, source } => {
            assert_eq!(source.kind(), kind, "{what}: {source}");
            assert!(
                format!("{what}: {source}").contains(words),
                "{what}: {source}"
            );
        }
        other => panic!("{other:?}"),
    }
}

fn bytes<const N: usize>(memory: &SharedMemory, offset: usize) -> [u8; N] {
    let mut bytes = [0xee; N];
    memory.read_at(offset, &mut bytes);
    bytes
}

#[mp::test]
fn all_who_open_it_see_the_same_bytes() {
    alone(|| {
        let name = fresh("same");
        let memory = SharedMemory::create(Some(&name), 5000).expect("making memory");
        assert_eq!(memory.name(), name);
        assert!(
            memory
                .as_atomics()
                .iter()
                .all(|byte| byte.load(Ordering::Relaxed) == 0)
        );
        let same = SharedMemory::open(&name).expect("opening it");
        assert_eq!((same.name(), same.len()), (name.as_str(), 5000));
        assert!(!same.is_empty());
        assert_ne!(memory.as_ptr(), same.as_ptr(), "it is mapped again");
        assert_eq!(memory.as_ptr(), memory.clone().as_ptr());
        memory.write_at(4995, b"hello");
        assert_eq!(bytes(&same, 4995), *b"hello");
        same.as_atomics()[4999].store(b'!', Ordering::Relaxed);
        assert_eq!(bytes(&memory, 4994), *b"\0hell!");
        drop(same);
        assert_eq!(bytes(&memory, 4998), *b"l!");
        memory.unlink().expect("unlinking it");
    });
}

#[mp::test]
fn names_are_with_or_without_a_slash() {
    alone(|| {
        let name = fresh("slash");
        let memory = SharedMemory::create(Some(&format!("/{name}")), 10).expect("making memory");
        assert_eq!(memory.name(), name);
        for spelling in [name.clone(), format!("/{name}")] {
            SharedMemory::open(&spelling).expect("opening it");
            let taken = SharedMemory::create(Some(&spelling), 10);
            fails(taken, ErrorKind::AlreadyExists, "exists already");
        }
        memory.unlink().expect("unlinking it");
    });
}

#[mp::test]
fn what_is_no_name_is_refused() {
    alone(|| {
        let long = "x".repeat(256);
        for (name, words) in [
            ("", "empty"),
            ("/", "empty"),
            (".", "folder"),
            ("/..", "folder"),
            ("a/b", "slash inside"),
            ("//a", "slash inside"),
            ("a/", "slash inside"),
            ("a\0b", "NUL"),
            (&long, "too long"),
        ] {
            let created = SharedMemory::create(Some(name), 10);
            fails(created, ErrorKind::InvalidInput, words);
            fails(SharedMemory::open(name), ErrorKind::InvalidInput, words);
        }
        let longest = format!("{:_<255}", fresh("longest"));
        let memory = SharedMemory::create(Some(&longest), 10).expect("making memory");
        memory.unlink().expect("unlinking it");
        let odd = format!("{}: ü\n", fresh("odd"));
        let memory = SharedMemory::create(Some(&odd), 10).expect("making memory");
        memory.unlink().expect("unlinking it");
    });
}

#[mp::test]
fn sizes_are_above_zero_and_not_above_what_there_is() {
    alone(|| {
        let name = fresh("size");
        for (size, kind) in [
            (0, ErrorKind::InvalidInput),
            (1 << 50, ErrorKind::StorageFull),
            (usize::MAX, ErrorKind::StorageFull),
        ] {
            let created = SharedMemory::create(Some(&name), size);
            fails(created, kind, &format!("`{name}` of {size} bytes"));
            fails(SharedMemory::create(None, size), kind, "`mp_");
            fails(SharedMemory::open(&name), ErrorKind::NotFound, "no memory");
        }
        let memory = make(1);
        assert_eq!(memory.len(), 1);
        memory.unlink().expect("unlinking it");
    });
}

#[mp::test]
fn made_up_names_differ_and_only_the_user_can_open_them() {
    alone(|| {
        let (one, other) = (make(10), make(10));
        assert_ne!(one.name(), other.name());
        for memory in [one, other] {
            assert!(memory.name().starts_with("mp_"), "{}", memory.name());
            let file = fs::metadata(format!("/dev/shm/{}", memory.name())).expect("a file");
            assert_eq!(file.permissions().mode() & 0o777, 0o600);
            assert_eq!(file.len(), 10);
            memory.unlink().expect("unlinking it");
        }
    });
}

#[mp::test]
fn unlinked_memory_can_be_used_on_but_not_found() {
    alone(|| {
        let memory = make(10);
        let same = SharedMemory::open(memory.name()).expect("opening it");
        same.unlink().expect("unlinking it");
        memory.write_at(0, b"still here");
        assert_eq!(bytes(&same, 0), *b"still here");
        let gone = SharedMemory::open(memory.name());
        fails(gone, ErrorKind::NotFound, "unlinked already");
        for twice in [&memory, &same] {
            fails(twice.unlink(), ErrorKind::NotFound, "unlinked it before");
        }
    });
}

#[mp::test]
fn a_name_that_is_other_memory_by_now_is_not_unlinked() {
    alone(|| {
        let old = make(10);
        old.unlink().expect("unlinking it");
        let new = SharedMemory::create(Some(old.name()), 20).expect("making memory");
        fails(old.unlink(), ErrorKind::NotFound, "unlinked it before");
        SharedMemory::open(old.name()).expect("it is there");
        new.unlink().expect("unlinking it");
    });
}

#[mp::test]
fn files_that_are_no_memory_are_refused() {
    alone(|| {
        let (empty, link) = (fresh("empty"), fresh("link"));
        fs::write(format!("/dev/shm/{empty}"), "").expect("making a file");
        symlink("/proc/self/exe", format!("/dev/shm/{link}")).expect("making a link");
        let error = SharedMemory::open(&empty);
        fails(error, ErrorKind::InvalidData, "not given it a size yet");
        SharedMemory::open(&link).expect_err("it is a link");
        fs::remove_file(format!("/dev/shm/{empty}")).expect("removing it");
        fs::remove_file(format!("/dev/shm/{link}")).expect("removing it");
    });
}

#[mp::test]
fn access_beyond_the_end_panics_and_says_what_was_tried() {
    alone(|| {
        let memory = make(16);
        memory.unlink().expect("unlinking it");
        for (offset, length) in [(10, 8), (16, 1), (17, 0), (usize::MAX, 1)] {
            let read = || memory.read_at(offset, &mut vec![0; length]);
            let write = || memory.write_at(offset, &vec![0; length]);
            for (verb, access) in [("read", &read as &dyn Fn()), ("write", &write)] {
                let panic = catch_unwind(AssertUnwindSafe(access)).expect_err("it panics");
                let message = panic.downcast_ref::<String>().expect("a text");
                let expected = format!("cannot {verb} {length} bytes at {offset} of");
                assert!(
                    message.contains(&expected) && message.contains("which has 16"),
                    "{message}"
                );
            }
        }
        memory.read_at(16, &mut []);
    });
}

#[derive(Debug, Serialize, Deserialize)]
struct Frame {
    number: u32,
    pixels: Vec<SharedMemory>,
}

#[mp::process_fn]
fn invert(frame: Frame) -> Frame {
    for pixels in &frame.pixels {
        for pixel in pixels.as_atomics() {
            pixel.fetch_xor(0xff, Ordering::Relaxed);
        }
    }
    frame
}

#[mp::test]
fn it_travels_by_its_name() {
    alone(|| {
        let memory = make(10_000);
        let frame = Frame {
            number: 7,
            pixels: vec![memory.clone()],
        };
        let process = mp::spawn!(invert, frame).expect("spawning");
        let frame = process.join().expect("it ends");
        assert_eq!((frame.number, frame.pixels[0].name()), (7, memory.name()));
        assert_eq!(bytes(&frame.pixels[0], 9_998), [0xff; 2]);
        let queue = mp::Queue::new().expect("making a queue");
        queue.put(memory.clone()).expect("putting");
        let got = queue.get().expect("getting");
        got.write_at(0, b"same");
        assert_eq!(bytes(&memory, 0), *b"same");
        memory.unlink().expect("unlinking it");
    });
}

#[mp::test]
fn a_message_of_unlinked_memory_is_told_to_come_too_late() {
    alone(|| {
        let queue = mp::Queue::<SharedMemory>::new().expect("making a queue");
        let memory = make(10);
        queue.put(memory.clone()).expect("putting");
        queue.put(memory.clone()).expect("putting");
        memory.unlink().expect("unlinking it");
        let error = queue.get().expect_err("it is gone").to_string();
        assert!(
            error.contains(memory.name()) && error.contains("unlink it when the receiver has it"),
            "{error}"
        );
        let other = SharedMemory::create(Some(memory.name()), 10).expect("making memory");
        let error = queue.get().expect_err("it is another").to_string();
        assert!(error.contains("other memory has its name now"), "{error}");
        other.unlink().expect("unlinking it");
    });
}

/// Opens the memory, and ends in some way.
#[mp::process_fn]
fn open_and_end(name: &str, how: u32) {
    let memory = SharedMemory::open(name).expect("opening it");
    memory.as_atomics()[0].fetch_add(1, Ordering::Relaxed);
    match how {
        0 => drop(memory),
        1 => std::process::exit(0),
        2 => std::process::abort(),
        _ => panic!("on purpose"),
    }
}

#[mp::test]
fn nobody_unlinks_it_by_ending() {
    alone(|| {
        let memory = make(10);
        for how in 0..4 {
            let process = mp::spawn!(open_and_end, memory.name(), how).expect("spawning");
            assert_eq!(process.join().is_ok(), how == 0);
        }
        let same = SharedMemory::open(memory.name()).expect("it is there");
        assert_eq!(bytes(&same, 0), [4]);
        same.unlink().expect("unlinking it");
    });
}

#[mp::process_fn]
fn create_on_and_on(prefix: &str) {
    for n in 0_u64.. {
        let name = format!("{prefix}{n}");
        let memory = SharedMemory::create(Some(&name), 100_000).expect("making memory");
        memory.write_at(99_999, &[1]);
        memory.unlink().expect("unlinking it");
    }
}

#[mp::test]
fn creators_that_are_killed_leave_whole_memory_or_none() {
    alone(|| {
        let mut random = Random::new();
        let prefix = fresh("killed");
        let mut left = 0;
        for round in 0..kills() {
            let prefix = format!("{prefix}_{round}_");
            let victim = mp::spawn!(create_on_and_on, &prefix).expect("spawning");
            random.moment();
            random.moment();
            kill(victim);
            for file in fs::read_dir("/dev/shm").expect("listing it").flatten() {
                let name = file.file_name().into_string().expect("a name of ours");
                if name.starts_with(&prefix) {
                    let memory = SharedMemory::open(&name).expect("it is whole");
                    assert_eq!(memory.len(), 100_000);
                    memory.unlink().expect("unlinking it");
                    left += 1;
                }
            }
        }
        eprintln!("{left} names were left by {} kills", kills());
    });
}

/// What a Python program does with memory of ours and of its own. Without the tracker, which would unlink ours at the end:
/// before Python 3.13 there is no other way to tell it not to.
const PYTHON: &str = r#"
import sys
from multiprocessing import resource_tracker, shared_memory

resource_tracker.register = resource_tracker.unregister = lambda *_: None
ours = shared_memory.SharedMemory(name=sys.argv[1])
assert ours.size == 5000, ours.size
assert bytes(ours.buf[:5]) == b"hello", bytes(ours.buf[:5])
ours.buf[4990:5000] = b"and thanks"
ours.close()

theirs = shared_memory.SharedMemory(create=True, size=3000)
theirs.buf[2999] = 42
print(theirs.name, flush=True)
assert input() == "seen"
assert theirs.buf[0] == 43
theirs.close()
theirs.unlink()
"#;

#[mp::test]
fn python_sees_the_same_names_and_bytes() {
    use std::io::{BufRead, BufReader, Write};
    use std::process::Stdio;

    if !Command::new("python3")
        .args(["-c", "import multiprocessing.shared_memory"])
        .status()
        .is_ok_and(|status| status.success())
    {
        eprintln!("skipped: there is no python3 with multiprocessing.shared_memory");
        return;
    }
    alone(|| {
        let memory = make(5000);
        memory.write_at(0, b"hello");
        let mut python = Command::new("python3")
            .args(["-c", PYTHON, memory.name()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starting python3");
        let mut name = String::new();
        let stdout = python.stdout.take().expect("it is piped");
        BufReader::new(stdout)
            .read_line(&mut name)
            .expect("reading its answer");
        assert_eq!(bytes(&memory, 4990), *b"and thanks");
        let theirs = SharedMemory::open(name.trim_end()).expect("opening Python's");
        assert_eq!(theirs.len(), 3000);
        assert_eq!(bytes(&theirs, 2999), [42]);
        theirs.write_at(0, &[43]);
        let mut stdin = python.stdin.take().expect("it is piped");
        stdin.write_all(b"seen\n").expect("writing to it");
        drop(stdin);
        assert!(python.wait().expect("it ends").success());
        fails(theirs.unlink(), ErrorKind::NotFound, "unlinked it before");
        SharedMemory::open(memory.name()).expect("ours is still there");
        memory.unlink().expect("unlinking it");
    });
}
