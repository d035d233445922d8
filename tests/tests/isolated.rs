//! Isolated processes, and limits.
//!
//! # Safety
//!
//! One process writes over its own memory on purpose.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::time::Duration;

use mp::{Builder, Connection, Error, Fd, ProcessError, Ran, RecvError, SendError, StartMethod};
use multiproc_tests::leaks::alone;
use multiproc_tests::processes::Watched;
use serde::{Deserialize, Serialize};

/// More than a packet holds.
const LARGE: usize = 20 << 20;

fn isolated() -> Builder {
    Builder::new().isolated(true)
}

#[mp::process_fn]
fn maps() -> String {
    std::fs::read_to_string("/proc/self/maps").expect("there is /proc")
}

#[mp::test]
fn it_maps_no_shared_memory() {
    alone(|| {
        let shared = "memfd:multiproc";
        let normal = mp::spawn!(maps).unwrap().join().unwrap();
        assert!(normal.contains(shared), "{normal}");
        let maps = isolated().spawn::<maps>(()).unwrap().join().unwrap();
        assert!(!maps.contains(shared), "{maps}");
        assert!(!maps.contains("rw-s"), "{maps}");
    });
}

#[mp::process_fn]
fn reverse(mut bytes: Vec<u8>, text: &str) -> (Vec<u8>, String) {
    bytes.reverse();
    (bytes, text.to_uppercase())
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n % 251) as u8).collect()
}

#[mp::test]
fn arguments_and_values_of_any_size_cross() {
    alone(|| {
        for length in [0, 1, 8 << 10, 64 << 10, LARGE] {
            let mut expected = bytes(length);
            let process = isolated()
                .name("apart")
                .spawn::<reverse>((expected.clone(), "shout"))
                .unwrap();
            // It ends without anybody who takes its value.
            assert!(process.wait().success(), "{length}");
            let (value, text) = process.join().unwrap();
            expected.reverse();
            assert!(value == expected, "{length}");
            assert_eq!(text, "SHOUT");
        }
    });
}

#[mp::process_fn]
fn who() -> (String, Option<(u32, String)>, bool) {
    let me = mp::current_process();
    let parent = mp::parent_process().map(|parent| (parent.id(), parent.name().to_owned()));
    (me.name().to_owned(), parent, me.is_daemon())
}

#[mp::test]
fn it_knows_who_it_is() {
    alone(|| {
        let here = mp::current_process();
        let process = isolated().daemon(true).spawn::<who>(()).unwrap();
        let (name, parent, daemon) = process.join().unwrap();
        assert!(name.starts_with("Process-"), "{name}");
        assert_eq!(parent, Some((here.id(), here.name().to_owned())));
        assert!(daemon);
    });
}

#[mp::process_fn]
fn take_event(_event: mp::Event) {}

#[mp::process_fn]
fn take_queues(_queues: Vec<Option<mp::Queue<u8>>>) {}

#[mp::process_fn]
fn make_everything() -> Vec<String> {
    fn refused<T>(result: mp::Result<T>) -> String {
        match result {
            Ok(_) => "made".to_owned(),
            Err(Error::Isolated) => Error::Isolated.to_string(),
            Err(other) => format!("{other:?}"),
        }
    }
    vec![
        refused(mp::Event::new()),
        refused(mp::Queue::<u8>::new()),
        refused(mp::Lock::new()),
        refused(mp::Value::new(0_u64)),
        refused(mp::Shared::from_slice(&[1_u8])),
        refused(mp::Pool::new(1)),
        refused(mp::arena_stats()),
        refused(mp::spawn!(take_event_of_nobody)),
    ]
}

#[mp::process_fn]
fn take_event_of_nobody() {}

#[mp::test]
fn other_handles_are_clear_errors() {
    alone(|| {
        let event = mp::Event::new().unwrap();
        let queue = mp::Queue::new().unwrap();
        let refusals = [
            isolated().spawn::<take_event>(event).map(drop),
            isolated()
                .spawn::<take_queues>(vec![None, Some(queue)])
                .map(drop),
        ];
        for (refusal, what) in refusals.into_iter().zip(["an Event", "a Queue"]) {
            let error = refusal.unwrap_err();
            assert!(matches!(error, Error::Encode(_)), "{error:?}");
            let text = error.to_string();
            for words in [
                what,
                "isolated process",
                "send values, connections or files",
            ] {
                assert!(text.contains(words), "{words}: {text}");
            }
        }
        let made = isolated()
            .spawn::<make_everything>(())
            .unwrap()
            .join()
            .unwrap();
        for text in made {
            assert!(text.contains("this process is isolated"), "{text}");
        }
    });
}

#[mp::process_fn]
fn echo(connection: Connection<Vec<u8>, Vec<u8>>) -> usize {
    let mut echoed = 0;
    while let Ok(message) = connection.recv() {
        connection.send(message).expect("sending");
        echoed += 1;
    }
    echoed
}

#[mp::test]
fn connections_carry_messages_of_any_size_both_ways() {
    alone(|| {
        let (here, there) = mp::pipe::<Vec<u8>, Vec<u8>>().unwrap();
        let process = isolated().spawn::<echo>(there).unwrap();
        for length in [0, 100, 8 << 10, (8 << 10) + 1, 1 << 20, LARGE] {
            here.send(bytes(length)).unwrap();
            assert!(here.recv().unwrap() == bytes(length), "{length}");
        }
        drop(here);
        assert_eq!(process.join().unwrap(), 6);
    });
}

#[mp::process_fn]
fn echo_bytes(connection: Connection<(), ()>) {
    while let Ok(message) = connection.recv_bytes() {
        connection.send_bytes(&message).expect("sending");
    }
}

#[mp::test]
fn bytes_are_looked_at_before_they_are_taken() {
    alone(|| {
        let (here, there) = mp::pipe::<(), ()>().unwrap();
        let process = isolated().spawn::<echo_bytes>(there).unwrap();
        here.send_bytes(&bytes(100_000)).unwrap();
        let refused = here.recv_bytes_into(&mut [0; 100]).unwrap_err();
        assert!(
            matches!(
                refused,
                RecvError::TooLong {
                    length: 100_000,
                    buffer: 100
                }
            ),
            "{refused:?}"
        );
        assert!(here.recv_bytes().unwrap() == bytes(100_000));
        drop(here);
        process.join().unwrap();
    });
}

#[mp::process_fn]
fn send_to(connection: mp::Sender<Vec<u8>>, length: usize) {
    connection.send(bytes(length)).expect("sending");
}

#[mp::process_fn]
fn receive_from(connection: mp::Receiver<Vec<u8>>) -> Result<usize, String> {
    match connection.recv() {
        Ok(message) => Ok(message.len()),
        Err(error) => Err(error.to_string()),
    }
}

#[mp::test]
fn an_isolated_process_talks_to_siblings() {
    alone(|| {
        let (tx, rx) = mp::channel().unwrap();
        let sender = isolated().spawn::<send_to>((tx, LARGE)).unwrap();
        let receiver = isolated().spawn::<receive_from>(rx).unwrap();
        sender.join().unwrap();
        assert_eq!(receiver.join().unwrap(), Ok(LARGE));

        // To one that is not isolated.
        let (tx, rx) = mp::channel().unwrap();
        isolated()
            .spawn::<send_to>((tx, LARGE))
            .unwrap()
            .join()
            .unwrap();
        assert_eq!(
            mp::spawn!(receive_from, rx).unwrap().join().unwrap(),
            Ok(LARGE)
        );

        // From one that was given its end before the other was isolated: small messages only.
        for (length, arrives) in [(8 << 10, true), (64 << 10, false)] {
            let (tx, rx) = mp::channel().unwrap();
            let sender = mp::spawn!(send_to, tx, length - 10).unwrap();
            sender.join().unwrap();
            let received = isolated()
                .spawn::<receive_from>(rx)
                .unwrap()
                .join()
                .unwrap();
            match received {
                Ok(received) => assert!(arrives && received == length - 10, "{length}"),
                Err(text) => assert!(!arrives && text.contains("8 KiB"), "{length}: {text}"),
            }
        }
    });
}

#[mp::process_fn]
fn hold_connection(connection: Connection<(), Option<mp::Event>>) -> bool {
    connection.recv().is_err()
}

#[mp::test]
fn a_handle_cannot_be_sent_to_it() {
    alone(|| {
        let (here, there) = mp::pipe::<Option<mp::Event>, ()>().unwrap();
        let process = isolated().spawn::<hold_connection>(there).unwrap();
        let event = mp::Event::new().unwrap();
        let refused = here.send(Some(event)).unwrap_err();
        assert!(
            matches!(refused, SendError::Encode(Some(_), _)),
            "{refused:?}"
        );
        assert!(
            refused.to_string().contains("isolated process"),
            "{refused}"
        );
        drop(here);
        assert!(process.join().unwrap());
    });
}

#[mp::process_fn]
fn shout_into(files: Vec<Fd<File>>) -> Vec<Fd<File>> {
    for file in &files {
        (&**file).write_all(b"heard").expect("writing");
    }
    files
}

#[mp::test]
fn files_go_there_and_come_back() {
    alone(|| {
        let file = || {
            let file = rustix::fs::memfd_create("file", rustix::fs::MemfdFlags::CLOEXEC);
            Fd::new(File::from(file.unwrap()))
        };
        let files: Vec<_> = (0..100).map(|_| file()).collect();
        let files = isolated()
            .spawn::<shout_into>(files)
            .unwrap()
            .join()
            .unwrap();
        assert_eq!(files.len(), 100);
        for file in files {
            let mut file = file.into_inner();
            file.rewind().unwrap();
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, "heard");
        }
    });
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Fate {
    Panic,
    Exit,
    Abort,
    Kill,
    Scribble,
    Error,
}

#[mp::process_fn]
#[allow(unsafe_code)]
fn end(fate: Fate) -> Result<(), mp::RemoteError> {
    match fate {
        Fate::Panic => panic!("on purpose"),
        Fate::Exit => std::process::exit(9),
        Fate::Abort => std::process::abort(),
        Fate::Kill => {
            let me = rustix::process::getpid();
            let _ = rustix::process::kill_process(me, rustix::process::Signal::KILL);
        }
        Fate::Scribble => {
            let maps = std::fs::read_to_string("/proc/self/maps").expect("there is /proc");
            for line in maps.lines().filter(|line| line.contains(" rw-")) {
                let range = line
                    .split(' ')
                    .next()
                    .and_then(|range| range.split_once('-'));
                let (begin, end) = range.expect("a range");
                let address = |text| usize::from_str_radix(text, 16).expect("an address");
                for place in (address(begin)..address(end)).step_by(8) {
                    // SAFETY: there is none. The memory is writable, and this process's alone, which is what is tried here.
                    unsafe {
                        std::ptr::without_provenance_mut::<u64>(place).write_volatile(0xdead_beef)
                    };
                }
            }
        }
        Fate::Error => Err(std::io::Error::other("no luck"))?,
    }
    Ok(())
}

#[mp::test]
fn every_end_is_told() {
    alone(|| {
        let queue = mp::Queue::new().unwrap();
        queue.put(1).unwrap();
        let end = |fate| {
            let ended = isolated()
                .stderr(mp::Stdio::null())
                .spawn::<end>(fate)
                .unwrap()
                .join();
            ended.map(|value| value.unwrap_err())
        };
        let error = end(Fate::Panic).unwrap_err();
        let ProcessError::Panicked(panic) = &error else {
            panic!("{error:?}")
        };
        assert_eq!(panic.message(), "on purpose");
        let error = end(Fate::Exit).unwrap_err();
        assert!(
            matches!(error, ProcessError::Exited { code: 9, .. }),
            "{error:?}"
        );
        assert_eq!(error.ran(), Ran::Partly);
        for (fate, signal) in [(Fate::Abort, 6), (Fate::Kill, 9)] {
            let error = end(fate).unwrap_err();
            assert!(
                matches!(error, ProcessError::Signaled { signal: by, .. } if by == signal),
                "{error:?}"
            );
            assert_eq!(error.ran(), Ran::Partly);
        }
        let error = end(Fate::Scribble).unwrap_err();
        assert!(matches!(error, ProcessError::Signaled { .. }), "{error:?}");
        assert!(end(Fate::Error).unwrap().to_string().contains("no luck"));
        assert_eq!(queue.get().unwrap(), 1);
    });
}

#[mp::process_fn]
fn stay(ready: mp::Sender<()>) {
    ready.send(()).expect("sending");
    loop {
        std::thread::park();
    }
}

#[mp::test]
fn its_connections_end_when_it_is_killed() {
    alone(|| {
        let (tx, rx) = mp::channel().unwrap();
        let process = isolated().spawn::<stay>(tx).unwrap();
        rx.recv().unwrap();
        process.kill().unwrap();
        assert!(matches!(rx.recv(), Err(RecvError::Closed)));
        assert!(process.join().is_err());
    });
}

#[mp::process_fn]
fn start_and_die(ready: mp::Sender<u32>) {
    let (tx, rx) = mp::channel().expect("a channel");
    let child = isolated().daemon(true).spawn::<stay>(tx).expect("starting");
    rx.recv().expect("it is there");
    ready.send(child.id()).expect("sending");
    std::process::abort();
}

#[mp::test]
fn a_daemon_dies_with_its_parent() {
    alone(|| {
        let (tx, rx) = mp::channel().unwrap();
        let parent = Builder::new()
            .stderr(mp::Stdio::null())
            .spawn::<start_and_die>(tx)
            .unwrap();
        let child = Watched::new(rx.recv().unwrap());
        assert!(parent.join().is_err());
        child.ends();
    });
}

#[mp::test]
fn it_is_started_anew_only() {
    alone(|| {
        for method in [StartMethod::Fork, StartMethod::Forkserver] {
            let refused = isolated()
                .start_method(method)
                .spawn::<who>(())
                .unwrap_err();
            let text = refused.to_string();
            assert!(matches!(refused, Error::Start { .. }), "{refused:?}");
            assert!(
                text.contains("isolated") && text.contains(method.name()),
                "{text}"
            );
        }
    });
}

#[mp::process_fn]
fn reserve(bytes: usize) -> bool {
    Vec::<u8>::new().try_reserve_exact(bytes).is_ok()
}

#[mp::process_fn]
fn spin() {
    loop {
        std::hint::spin_loop();
    }
}

#[mp::process_fn]
fn run_out_of_memory() -> usize {
    let mut all = Vec::new();
    loop {
        all.push(vec![1_u8; 1 << 20]);
        std::hint::black_box(&all);
    }
}

/// Those of this process, which has threads: it does not fork.
fn builders() -> [(&'static str, Builder); 3] {
    [
        ("spawn", Builder::new()),
        (
            "forkserver",
            Builder::new().start_method(StartMethod::Forkserver),
        ),
        ("isolated", isolated()),
    ]
}

#[mp::test]
fn memory_is_limited() {
    alone(|| {
        for (what, builder) in builders() {
            let process = builder
                .memory_limit(32 << 20)
                .spawn::<reserve>(16 << 20)
                .unwrap();
            assert!(process.join().unwrap(), "{what}");
        }
        for (what, builder) in builders() {
            let process = builder
                .memory_limit(32 << 20)
                .spawn::<reserve>(40 << 20)
                .unwrap();
            assert!(!process.join().unwrap(), "{what}");
        }
        for (what, builder) in builders() {
            let builder = builder.memory_limit(32 << 20).stderr(mp::Stdio::null());
            let error = builder
                .spawn::<run_out_of_memory>(())
                .unwrap()
                .join()
                .unwrap_err();
            assert!(
                matches!(error, ProcessError::Signaled { signal: 6, .. }),
                "{what}: {error:?}"
            );
        }
        // What the tree shares does not count.
        let process = Builder::new()
            .memory_limit(8 << 20)
            .spawn::<fill_shared>(LARGE)
            .unwrap();
        assert_eq!(process.join().unwrap().len(), LARGE);
    });
}

#[mp::process_fn]
fn fill_shared(length: usize) -> mp::Shared<[u8]> {
    mp::Shared::<[u8]>::from_fn(length, |n| n as u8).expect("there is room")
}

#[mp::test]
fn processor_time_is_limited() {
    alone(|| {
        let begun = builders().map(|(what, builder)| {
            let builder = builder.cpu_limit(Duration::from_millis(10));
            (what, builder.spawn::<spin>(()).unwrap())
        });
        for (what, process) in begun {
            let error = process.join().unwrap_err();
            assert!(
                matches!(error, ProcessError::Signaled { .. }),
                "{what}: {error:?}"
            );
            assert!(error.to_string().contains("SIGXCPU"), "{what}: {error}");
        }
    });
}

#[mp::process_fn]
fn niceness() -> i32 {
    rustix::process::getpriority_process(None).expect("a process has one")
}

#[mp::test]
fn it_can_be_nicer() {
    alone(|| {
        let here = niceness();
        for (what, builder) in builders() {
            let there = builder
                .nice(3)
                .spawn::<niceness>(())
                .unwrap()
                .join()
                .unwrap();
            assert_eq!(there, (here + 3).min(19), "{what}");
        }
        assert_eq!(niceness(), here);
    });
}

#[mp::process_fn]
fn limited_child(bytes: u64) -> String {
    let child = Builder::new()
        .memory_limit(bytes)
        .stderr(mp::Stdio::null())
        .spawn::<niceness>(())
        .expect("the start succeeds");
    child
        .join()
        .expect_err("its parent may have less")
        .to_string()
}

#[mp::test]
fn a_limit_that_the_system_refuses_ends_the_child_before_its_function() {
    alone(|| {
        if rustix::process::geteuid().is_root() {
            eprintln!("not tried: root may raise limits");
            return;
        }
        let process = Builder::new()
            .memory_limit(64 << 20)
            .spawn::<limited_child>(1 << 40)
            .unwrap();
        let text = process.join().unwrap();
        assert!(
            text.contains("before it took its order") || text.contains("did not run"),
            "{text}"
        );
    });
}
