//! What a child has of its parent's descriptors and environment, and what other programs have of ours: nothing more
//! than they need.

use std::fs::File;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use multiproc_tests::leaks::{alone, nothing};
use multiproc_tests::processes::descriptors;
use multiproc_tests::program::run;
use multiproc_tests::watchdog::Watchdog;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{MemfdFlags, memfd_create};

#[mp::process_fn]
fn list() -> Vec<String> {
    descriptors()
}

/// With connections among the arguments, and inside of something.
#[mp::process_fn]
fn list_with(
    connection: mp::Connection<u8, u8>,
    more: Vec<Option<mp::Connection<u8, u8>>>,
) -> Vec<String> {
    let listed = descriptors();
    connection.send(1).unwrap();
    more.iter().flatten().for_each(|more| more.send(2).unwrap());
    listed
}

#[mp::process_fn]
fn list_in_child() -> Vec<String> {
    mp::spawn!(list).unwrap().join().unwrap()
}

/// The ends of the socket by which descriptors travel in messages.
const DEPOT: usize = 2;
/// What a child has: standard streams, memory, depot, parent.
const CHILD: usize = 3 + 1 + DEPOT + 1;

type MakeStdio = fn() -> mp::Stdio;

/// The ways of starting a program: with `posix_spawn`, and with `Command`.
const STDIO: [(&str, MakeStdio); 4] = [
    ("inherited", mp::Stdio::inherit),
    ("null", mp::Stdio::null),
    ("piped", mp::Stdio::piped),
    ("standard", || Stdio::null().into()),
];

/// What is opened without the flag that keeps it from other programs.
fn leak() -> Vec<OwnedFd> {
    let (a, b) = UnixStream::pair().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let memory = memfd_create("leaked", MemfdFlags::empty()).unwrap();
    let opened: [OwnedFd; 7] = [
        File::open("/dev/null").unwrap().into(),
        a.into(),
        b.into(),
        listener.into(),
        client.into(),
        reader,
        writer,
    ];
    let mut leaked: Vec<_> = opened
        .iter()
        .map(|fd| rustix::io::dup(fd).unwrap())
        .collect();
    leaked.push(memory);
    leaked
}

/// Checks that a process has the standard streams, its tree's memory, the two ends of its tree's depot, its parent, and
/// `sockets` sockets more.
#[track_caller]
fn check(listed: &[String], sockets: usize, what: &str) {
    let (mut numbers, mut arenas, mut parents, mut found) = (Vec::new(), 0, 0, 0);
    for line in listed {
        let (number, target) = line.split_once(" -> ").unwrap();
        let number: u32 = number.parse().unwrap();
        numbers.push(number);
        match target {
            _ if number < 3 => {}
            _ if target.contains("memfd:multiproc") => arenas += 1,
            _ if target.contains("pidfd") => parents += 1,
            _ if target.starts_with("socket:") => found += 1,
            _ => panic!("{what}: {line}"),
        }
    }
    assert_eq!(numbers[..3], [0, 1, 2], "{what}: {listed:?}");
    assert_eq!(
        (arenas, parents, found),
        (1, 1, DEPOT + sockets),
        "{what}: {listed:?}"
    );
    assert_eq!(numbers.len(), CHILD + sockets, "{what}: {listed:?}");
}

#[mp::test]
fn a_child_has_what_it_needs() {
    alone(|| {
        for (what, stdio) in STDIO {
            let builder = || mp::Builder::new().stdin(stdio()).stderr(stdio());
            let listed = builder().spawn::<list>(()).unwrap().join().unwrap();
            check(&listed, 0, what);
            let listed = builder()
                .spawn::<list_in_child>(())
                .unwrap()
                .join()
                .unwrap();
            check(&listed, 0, what);
        }
    });
}

#[mp::test]
fn a_child_has_nothing_that_its_parent_leaks() {
    alone(|| {
        let leaked = leak();
        assert!(descriptors().len() > leaked.len() + 3);
        for (what, stdio) in STDIO {
            // One stream, or all of them.
            let one = mp::Builder::new().stderr(stdio());
            check(&one.spawn::<list>(()).unwrap().join().unwrap(), 0, what);
            let all = mp::Builder::new()
                .stdin(stdio())
                .stdout(stdio())
                .stderr(stdio());
            check(&all.spawn::<list>(()).unwrap().join().unwrap(), 0, what);
            let all = mp::Builder::new()
                .stdin(stdio())
                .stdout(stdio())
                .stderr(stdio());
            check(
                &all.spawn::<list_in_child>(()).unwrap().join().unwrap(),
                0,
                what,
            );
        }
        drop(leaked);
    });
}

#[mp::test]
fn a_child_has_the_connections_that_it_was_given() {
    alone(|| {
        let leaked = leak();
        for (what, stdio) in STDIO {
            for number in [0, 1, 20] {
                let (mine, its) = mp::pipe().unwrap();
                let pipes: Vec<_> = (0..number).map(|_| mp::pipe::<u8, u8>().unwrap()).collect();
                let (others, passed): (Vec<_>, Vec<_>) = pipes.into_iter().unzip();
                // Not passed, but open while the child is started.
                let kept = mp::pipe::<u8, u8>().unwrap();
                let passed = passed.into_iter().map(Some).chain([None]).collect();
                let builder = mp::Builder::new().stdout(stdio());
                let process = builder.spawn::<list_with>((its, passed)).unwrap();
                assert_eq!(mine.recv().unwrap(), 1);
                for other in &others {
                    assert_eq!(other.recv().unwrap(), 2);
                }
                check(&process.join().unwrap(), 1 + number, what);
                assert!(mine.recv().is_err(), "nobody has the other end any more");
                drop(kept);
            }
        }
        drop(leaked);
    });
}

/// In a program without a test harness.
#[test]
fn a_child_of_a_program_has_what_it_needs() {
    let _watchdog = Watchdog::new();
    for how in ["inherit", "null", "piped", "standard"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_listing"));
        let output = run(command.arg(how)).nothing_left().success();
        let lines: Vec<String> = output.lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 2 * CHILD, "{how}: {output}");
        check(&lines[..CHILD], 0, how);
        check(&lines[CHILD..], 0, how);
    }
}

/// A process whose standard streams are closed gives its children none of its other descriptors in their place.
#[test]
fn a_child_of_a_program_without_streams_is_told_apart() {
    let _watchdog = Watchdog::new();
    for closed in ["<&-", "2>&-", "<&- 2>&-"] {
        for how in ["inherit", "null", "standard"] {
            let mut command = Command::new("sh");
            let script = format!("exec \"$0\" {how} {closed}");
            command.args(["-c", &script, env!("CARGO_BIN_EXE_listing")]);
            let output = run(&mut command).nothing_left().success();
            let lines: Vec<String> = output.lines().map(str::to_owned).collect();
            assert_eq!(lines.len(), 2 * CHILD, "{closed} {how}: {output}");
            check(&lines[..CHILD], 0, how);
        }
    }
}

/// What a program sees that somebody starts here: its descriptors, and whether it has our variable.
fn look() -> String {
    let script = "ls -l /proc/self/fd; env | grep MULTIPROC_CHILD; true";
    let mut child = Command::new("sh")
        .args(["-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert!(child.wait().unwrap().success());
    text
}

/// The numbers of the descriptors in a listing.
fn numbers(listing: &str) -> Vec<&str> {
    let links = listing.lines().filter_map(|line| line.split_once(" -> "));
    links
        .filter_map(|(name, _)| name.rsplit(' ').next())
        .collect()
}

#[mp::test]
fn programs_started_meanwhile_have_nothing_of_ours() {
    const ROUNDS: usize = 150;
    alone(|| {
        let expected = look();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for (_, stdio) in STDIO {
                let done = &done;
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        let (mine, its) = mp::pipe::<u8, u8>().unwrap();
                        let builder = mp::Builder::new().stdin(stdio()).stdout(stdio());
                        let process = builder.spawn::<list_with>((its, Vec::new())).unwrap();
                        assert_eq!(mine.recv().unwrap(), 1);
                        // Nor has another child of ours anything of this one.
                        check(&process.join().unwrap(), 1, "at the same time");
                    }
                });
            }
            // The others end when this does, by a panic, too.
            let _end = End(&done);
            for round in 0..ROUNDS {
                let seen = look();
                assert_eq!(numbers(&seen), numbers(&expected), "round {round}: {seen}");
                for word in ["multiproc", "pidfd", "socket", "MULTIPROC"] {
                    assert_eq!(
                        seen.matches(word).count(),
                        expected.matches(word).count(),
                        "{word}: {seen}"
                    );
                }
            }
        });
    });
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a program sees that a child starts.
#[mp::process_fn]
fn look_from_child(below: u32) -> Vec<String> {
    let mut seen = vec![look()];
    let variable = std::env::var_os("MULTIPROC_CHILD");
    seen.push(format!("{variable:?}"));
    let is_named = |name: &std::ffi::OsString| name.to_string_lossy().contains("MULTIPROC_CHILD");
    seen.push(
        std::env::vars_os()
            .filter(|(name, _)| is_named(name))
            .count()
            .to_string(),
    );
    if below > 0 {
        seen.extend(
            mp::spawn!(look_from_child, below - 1)
                .unwrap()
                .join()
                .unwrap(),
        );
    }
    seen
}

#[mp::test]
fn programs_that_a_child_starts_have_nothing_of_ours() {
    alone(|| {
        let leaked = leak();
        for (_, stdio) in STDIO {
            let builder = mp::Builder::new().stdin(stdio());
            let seen = builder.spawn::<look_from_child>(2).unwrap().join().unwrap();
            assert_eq!(seen.len(), 9);
            for seen in seen.chunks(3) {
                assert_eq!(numbers(&seen[0]), ["0", "1", "2", "3"], "{}", seen[0]);
                assert!(!seen[0].contains("MULTIPROC"), "{}", seen[0]);
                assert_eq!(seen[1..], ["None", "0"]);
            }
        }
        drop(leaked);
    });
}

/// The child's own descriptors are kept from programs that it starts: each has the flag.
#[mp::process_fn]
fn flags() -> Vec<(String, bool)> {
    let infos = std::fs::read_dir("/proc/self/fdinfo").unwrap().flatten();
    let numbers: Vec<_> = infos
        .map(|info| info.file_name().into_string().unwrap())
        .collect();
    let flag = |number: &String| {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
        let flags = u32::from_str_radix(flags.trim(), 8).unwrap();
        Some((number.clone(), flags & 0o2_000_000 != 0))
    };
    numbers.iter().filter_map(flag).collect()
}

#[mp::test]
fn what_a_child_was_given_is_close_on_exec() {
    let _watchdog = Watchdog::new();
    for (what, stdio) in STDIO {
        let builder = mp::Builder::new().stdin(stdio());
        let flags = builder.spawn::<flags>(()).unwrap().join().unwrap();
        for (number, close_on_exec) in &flags {
            let expected = !["0", "1", "2"].contains(&number.as_str());
            assert_eq!(*close_on_exec, expected, "{what}, {number}: {flags:?}");
        }
        assert!(flags.len() >= CHILD, "{flags:?}");
    }
}

/// A descriptor of the parent with a high number, and a table with gaps.
#[mp::test]
fn high_numbers_and_gaps_do_not_matter() {
    alone(|| {
        let null = File::open("/dev/null").unwrap();
        let mut held: Vec<OwnedFd> = (0..200)
            .map(|_| rustix::io::dup(null.as_fd()).unwrap())
            .collect();
        let (mine, its) = mp::pipe::<u8, u8>().unwrap();
        let mut index = 0;
        held.retain(|_| {
            index += 1;
            index % 3 == 0
        });
        let (low_mine, low_its) = mp::pipe::<u8, u8>().unwrap();
        for (what, stdio) in STDIO {
            let (a, b) = mp::pipe::<u8, u8>().unwrap();
            let builder = mp::Builder::new().stdin(stdio());
            let process = builder.spawn::<list_with>((b, Vec::new())).unwrap();
            assert_eq!(a.recv().unwrap(), 1);
            check(&process.join().unwrap(), 1, what);
        }
        let process = mp::spawn!(list_with, its, vec![Some(low_its)]).unwrap();
        assert_eq!((mine.recv().unwrap(), low_mine.recv().unwrap()), (1, 2));
        check(&process.join().unwrap(), 2, "of both");
        drop(held);
        mp::spawn!(nothing).unwrap().join().unwrap();
    });
}
