//! What errors of processes tell: of which process and function, whether it ran, what happened, and where.

use std::panic::{panic_any, resume_unwind};
use std::process::Command;

use mp::{Error, Panic, ProcessError, Ran, Subject};
use multiproc_tests::leaks::{alone, apart};
use multiproc_tests::processes::kernel_tells_of_the_reaped;
use multiproc_tests::program::run;
use multiproc_tests::watchdog::Watchdog;
use rustix::process::{Pid, Resource, Rlimit, WaitOptions, getrlimit, setrlimit, waitpid};
use serde::{Deserialize, Serialize};

/// A way of panicking.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum How {
    Text,
    Formatted,
    Lines,
    Number,
    /// With a payload of another thread, past the panic hook.
    Resumed,
    Unwrapped,
}

#[mp::process_fn]
fn panic(how: How) -> u32 {
    match how {
        How::Text => panic!("a plain text"),
        How::Formatted => panic!("text number {}", 2),
        How::Lines => panic!("two\nlines \u{1f4a5} \0 `{{}}`"),
        How::Number => panic_any(42_u32),
        How::Resumed => {
            let other = std::thread::spawn(|| panic!("of another thread"));
            resume_unwind(other.join().unwrap_err())
        }
        How::Unwrapped => "x".parse().unwrap(),
    }
}

fn panicked(builder: mp::Builder, how: How) -> (Panic, u32) {
    let process = builder.spawn::<panic>(how).unwrap();
    let id = process.id();
    match process.join().unwrap_err() {
        ProcessError::Panicked(panic) => (panic, id),
        other => panic!("{other:?}"),
    }
}

/// Without the backtraces that the test itself may be run with.
fn builder() -> mp::Builder {
    mp::Builder::new()
        .env_remove("RUST_BACKTRACE")
        .env_remove("RUST_LIB_BACKTRACE")
}

fn line_of(text: &str) -> usize {
    let lines = include_str!("process_errors.rs").lines();
    let line = lines.into_iter().position(|line| line.contains(text));
    line.unwrap() + 1
}

#[mp::test]
fn a_panic_tells_its_message() {
    let _watchdog = Watchdog::new();
    for (how, message) in [
        (How::Text, "a plain text"),
        (How::Formatted, "text number 2"),
        (How::Lines, "two\nlines \u{1f4a5} \0 `{}`"),
        (How::Number, "a value that is no text was thrown"),
        (How::Resumed, "of another thread"),
        (
            How::Unwrapped,
            "called `Result::unwrap()` on an `Err` value: ParseIntError { kind: InvalidDigit }",
        ),
    ] {
        let (panic, _) = panicked(builder(), how);
        assert_eq!(panic.message(), message);
        assert!(panic.to_string().contains(message), "{panic}");
    }
}

#[mp::test]
fn a_panic_tells_where_and_on_which_thread() {
    let _watchdog = Watchdog::new();
    for (how, text) in [
        (How::Text, "How::Text => panic!"),
        (How::Formatted, "How::Formatted => panic!"),
        (How::Number, "How::Number => panic_any"),
        (How::Unwrapped, "How::Unwrapped => \"x\""),
    ] {
        let (panic, _) = panicked(builder(), how);
        let place = format!("tests/tests/process_errors.rs:{}:", line_of(text));
        let location = panic.location().unwrap();
        assert!(location.starts_with(&place), "{location} is not {place}");
        // It is `main` in a program, see `errors_of_main_are_shown_to_be_read`; the test harness has threads of its own.
        assert!(panic.thread().is_some());
        assert!(panic.to_string().contains(location), "{panic}");
    }
    // The hook did not see it on the thread of the function.
    assert_eq!(panicked(builder(), How::Resumed).0.location(), None);
}

#[mp::test]
fn a_panic_tells_of_its_process() {
    let _watchdog = Watchdog::new();
    let (panic, pid) = panicked(builder().name("the thrower"), How::Text);
    let expected = Subject {
        name: "the thrower".to_owned(),
        pid,
        function: "process_errors::panic".to_owned(),
        ran: Ran::Partly,
        stderr: String::new(),
    };
    assert_eq!(*panic.subject(), expected);
    let error = ProcessError::Panicked(panic);
    assert_eq!((error.subject(), error.ran()), (&expected, Ran::Partly));
}

#[mp::test]
fn a_panic_has_a_backtrace_if_the_childs_environment_asks_for_it() {
    let _watchdog = Watchdog::new();
    let (without, _) = panicked(builder(), How::Text);
    assert_eq!(without.backtrace(), None);
    for value in ["1", "full"] {
        let (panic, _) = panicked(builder().env("RUST_BACKTRACE", value), How::Text);
        let backtrace = panic.backtrace().unwrap();
        assert!(backtrace.contains("process_errors::panic"), "{backtrace}");
        assert!(panic.to_string().contains(backtrace));
    }
    for (name, value) in [("RUST_BACKTRACE", "0"), ("RUST_LIB_BACKTRACE", "0")] {
        let builder = builder().env("RUST_BACKTRACE", "1").env(name, value);
        assert_eq!(panicked(builder, How::Text).0.backtrace(), None, "{name}");
    }
}

/// Catches the panic that it throws.
#[mp::process_fn]
fn catch() -> bool {
    std::panic::catch_unwind(|| panic!("caught")).is_err()
}

/// Its own panic hook does not take the place of the library's.
#[mp::process_fn]
fn panic_with_hook() {
    std::panic::set_hook(Box::new(|_| {}));
    panic!("with a hook");
}

/// A panic of another thread is not the function's.
#[mp::process_fn]
fn panic_beside() -> bool {
    std::thread::spawn(|| panic!("beside")).join().is_err()
}

#[mp::test]
fn panics_that_do_not_end_the_function_are_no_errors() {
    let _watchdog = Watchdog::new();
    assert!(builder().spawn::<catch>(()).unwrap().join().unwrap());
    assert!(builder().spawn::<panic_beside>(()).unwrap().join().unwrap());
    let process = builder().spawn::<panic_with_hook>(()).unwrap();
    let ProcessError::Panicked(panic) = process.join().unwrap_err() else {
        unreachable!("it panicked")
    };
    assert_eq!(
        (panic.message(), panic.location()),
        ("with a hook", None),
        "as its documentation says"
    );
}

/// Cannot be decoded (`0`), or not encoded (`1`).
#[derive(Debug, Deserialize)]
struct Trap(u8);

impl Serialize for Trap {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            0 => serializer.serialize_unit(),
            _ => Err(serde::ser::Error::custom("it does not want to")),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Fate {
    Panic,
    Exit,
    Kill,
    Encode,
    Decode,
    Wait,
    Large,
}

#[mp::process_fn]
fn meet(fate: Fate) -> (Vec<u8>, Trap) {
    match fate {
        Fate::Panic => panic!("on purpose"),
        Fate::Exit => std::process::exit(7),
        Fate::Kill => std::process::abort(),
        Fate::Encode => (Vec::new(), Trap(1)),
        Fate::Decode => (Vec::new(), Trap(0)),
        Fate::Wait => loop {
            std::thread::park();
        },
        Fate::Large => (vec![1; LARGE], Trap(0)),
    }
}

#[mp::process_fn]
fn take(trap: Trap) {
    unreachable!("it cannot be decoded: {trap:?}");
}

const LARGE: usize = 16 << 20;

/// Checks what the text of an error, and its `mp::Error`, say.
#[track_caller]
fn check_text(error: ProcessError, name: &str, pid: u32, function: &str, words: &[&str]) {
    let ran = match error.ran() {
        Ran::No => "function did not run",
        Ran::Partly => "function was running",
        Ran::Yes => "function had run to its end",
        Ran::Unknown => "function may have run",
    };
    let text = error.to_string();
    let subject = format!("process `{name}` (pid {pid}, function `process_errors::{function}`)");
    let mut missing: Vec<&str> = words.to_vec();
    missing.extend([subject.as_str(), ran]);
    missing.retain(|words| !text.contains(words));
    assert!(missing.is_empty(), "{missing:?} is not in `{text}`");
    let general = Error::from(error);
    assert_eq!(general.to_string(), text);
    assert_eq!(format!("{general:?}"), text);
}

#[track_caller]
fn check_fate(fate: Fate, words: &[&str]) {
    let process = builder().name("doomed").spawn::<meet>(fate).unwrap();
    let pid = process.id();
    let error = process.join().unwrap_err();
    check_text(error, "doomed", pid, "meet", words);
}

#[mp::test]
fn the_text_of_a_panic_says_all() {
    let _watchdog = Watchdog::new();
    check_fate(
        Fate::Panic,
        &["panicked", "on purpose", "process_errors.rs:"],
    );
}

#[mp::test]
fn the_text_of_an_exit_says_all() {
    let _watchdog = Watchdog::new();
    check_fate(Fate::Exit, &["exited with code 7"]);
}

#[mp::test]
fn the_text_of_a_signal_says_all() {
    let _watchdog = Watchdog::new();
    check_fate(Fate::Kill, &["signal 6 (SIGABRT"]);
    type Signal = fn(&mp::ChildProcess) -> mp::Result<()>;
    let signals: [(Signal, &str); 3] = [
        (mp::ChildProcess::terminate, "signal 15 (SIGTERM"),
        (mp::ChildProcess::kill, "signal 9 (SIGKILL"),
        (mp::ChildProcess::interrupt, "signal 2 (SIGINT"),
    ];
    for (send, words) in signals {
        let process = builder().spawn::<meet>(Fate::Wait).unwrap();
        send(&process).unwrap();
        let (name, pid) = (process.name().to_owned(), process.id());
        check_text(process.join().unwrap_err(), &name, pid, "meet", &[words]);
    }
}

#[mp::test]
fn the_text_of_a_value_that_is_not_encoded_says_all() {
    let _watchdog = Watchdog::new();
    let words = [
        "the value of `process_errors::meet`",
        "`(alloc::vec::Vec<u8>, process_errors::Trap)`",
        "cannot be encoded",
        "it does not want to",
    ];
    check_fate(Fate::Encode, &words);
}

#[mp::test]
fn the_text_of_what_is_not_decoded_says_all() {
    let _watchdog = Watchdog::new();
    let words = [
        "the value of `process_errors::meet`",
        "process_errors::Trap",
        "cannot be decoded",
    ];
    check_fate(Fate::Decode, &words);

    let process = builder().spawn::<take>(Trap(0)).unwrap();
    let (name, pid) = (process.name().to_owned(), process.id());
    let words = [
        "argument `trap` of `process_errors::take`",
        "cannot be decoded as `process_errors::Trap`",
    ];
    check_text(process.join().unwrap_err(), &name, pid, "take", &words);
}

#[mp::test]
fn the_text_of_a_start_that_comes_to_nothing_says_all() {
    alone(|| {
        for (program, words) in [
            (
                "/bin/false",
                ["exit code 1", "before it took its order", "#[mp::main]"],
            ),
            (
                env!("CARGO_BIN_EXE_plain"),
                ["no process function of that name", "linker", "versions"],
            ),
        ] {
            mp::set_executable(program);
            let process = builder().name("lost").spawn::<take>(Trap(0)).unwrap();
            let pid = process.id();
            let error = process.join().unwrap_err();
            assert_eq!(error.ran(), Ran::No);
            check_text(error, "lost", pid, "take", &words);
        }
        mp::set_executable("/proc/self/exe");
    });
}

#[mp::test]
fn the_text_of_a_lost_status_says_all() {
    alone(|| {
        let process = builder().name("stolen").spawn::<meet>(Fate::Exit).unwrap();
        let pid = process.id();
        let _ = waitpid(Pid::from_raw(pid.cast_signed()), WaitOptions::empty());
        if kernel_tells_of_the_reaped() {
            process.wait();
            return;
        }
        let words = ["exit status is lost", "waitpid(-1)"];
        check_text(process.join().unwrap_err(), "stolen", pid, "meet", &words);
    });
}

/// The arena is as large as the address space allows.
#[mp::test]
fn the_text_of_a_value_without_room_says_all() {
    apart(|| {
        let limit = Rlimit {
            current: Some(1 << 30),
            maximum: getrlimit(Resource::As).maximum,
        };
        setrlimit(Resource::As, limit).unwrap();
        let capacity = mp::arena_stats().unwrap().capacity;
        assert!(capacity < 1 << 30, "{capacity}");
        let start = mp::arena_stats().unwrap();
        let queue = mp::Queue::new().unwrap();
        let error = loop {
            match queue.put(vec![2_u8; LARGE]) {
                Ok(()) => {}
                Err(error) => break error.to_string(),
            }
        };
        assert!(error.contains("shared memory"), "{error}");

        let process = builder()
            .name("squeezed")
            .spawn::<meet>(Fate::Large)
            .unwrap();
        let pid = process.id();
        let error = process.join().unwrap_err();
        assert!(matches!(error, ProcessError::Failed { .. }), "{error:?}");
        assert_eq!(error.ran(), Ran::Yes);
        check_text(
            error,
            "squeezed",
            pid,
            "meet",
            &["shared memory has no room"],
        );

        // An argument without room.
        let error = builder().spawn::<weigh>(&vec![3_u8; LARGE]).unwrap_err();
        assert!(matches!(error, Error::OutOfMemory { .. }), "{error:?}");
        drop(queue);
        let process = builder().spawn::<weigh>(&vec![3_u8; LARGE]).unwrap();
        assert_eq!(process.join().unwrap(), LARGE);
        assert_eq!(mp::arena_stats().unwrap(), start);
    });
}

#[mp::process_fn]
fn weigh(bytes: &[u8]) -> usize {
    bytes.len()
}

fn failing(how: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_failing"));
    command.arg(how).env_remove("RUST_BACKTRACE");
    let ended = run(&mut command).nothing_left().code(1);
    assert_eq!(ended.stdout, "", "{ended:?}");
    ended.stderr
}

/// What a program shows whose `main` returns an `mp::Result`.
#[test]
fn errors_of_main_are_shown_to_be_read() {
    let shown = failing("panic");
    assert!(shown.contains("thread 'main'"), "{shown}");
    let last = shown.lines().last().unwrap();
    assert!(
        last.starts_with("Error: process `Process-1` (pid "),
        "{shown}"
    );
    for words in ["function `failing::panic`", "panicked at", "on purpose"] {
        assert!(last.contains(words), "{words}: {shown}");
    }
    assert!(!last.contains("Panicked"), "not as a structure: {shown}");

    let shown = failing("remote");
    assert_eq!(
        shown,
        "Error: the configuration is not readable\n  caused by: invalid digit found in string\n"
    );

    let shown = failing("start");
    assert_eq!(
        shown,
        "Error: cannot start a process for `failing::panic`: cannot execute /gone: No such file or directory (os error 2)\n"
    );

    let shown = failing("encode");
    for words in ["Error: argument `value` of `failing::give`", "mp::Json<T>"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert_eq!(shown.lines().count(), 1, "{shown}");

    let shown = failing("queue");
    assert!(shown.starts_with("Error: "), "{shown}");
    assert!(shown.contains("queue"), "{shown}");
    assert_eq!(shown.lines().count(), 1, "{shown}");

    let shown = failing("io");
    assert!(shown.starts_with("Error: "), "{shown}");
    assert_eq!(
        shown.matches("No such file or directory").count(),
        1,
        "{shown}"
    );
}
