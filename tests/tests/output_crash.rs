//! The last words of those who crash.

use std::io::Write;
use std::process::abort;
use std::sync::mpsc;

use mp::{Builder, Pool, ProcessError, Stdio, TaskError};
use multiproc_tests::leaks::alone;
use multiproc_tests::processes::{eventually, marked};
use multiproc_tests::program::Folder;
use multiproc_tests::watchdog::Watchdog;
use rustix::process::{Pid, Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};

/// A manner of ending.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum How {
    Panic,
    Exit(i32),
    Abort,
    Kill,
    Fault,
    Overflow,
}

const MANNERS: [How; 7] = [
    How::Panic,
    How::Exit(0),
    How::Exit(7),
    How::Abort,
    How::Kill,
    How::Fault,
    How::Overflow,
];

impl How {
    fn end(self) -> ! {
        match self {
            How::Panic => panic!("on purpose"),
            How::Exit(code) => std::process::exit(code),
            How::Abort => abort(),
            How::Kill | How::Fault => {
                let signal = if self == How::Kill {
                    Signal::KILL
                } else {
                    Signal::SEGV
                };
                // The handler of the standard library looks whether it is a stack overflow, and gives it back.
                loop {
                    let _ = kill_process(getpid(), signal);
                }
            }
            How::Overflow => panic!("{}", overflow(1)),
        }
    }

    /// What the system, or the standard library, says at this end after the function's own words.
    fn epitaph(self) -> &'static str {
        match self {
            How::Panic => "on purpose",
            How::Overflow => "has overflowed its stack",
            _ => "",
        }
    }
}

/// Overflows the stack.
#[expect(unconditional_recursion, reason = "that is its purpose")]
fn overflow(n: u64) -> u64 {
    std::hint::black_box([n; 64]);
    overflow(n + 1) + 1
}

/// Says this, and ends.
#[mp::process_fn]
fn speak_and_end(lines: u32, last: &str, how: How) {
    for line in 0..lines {
        println!("line {line}");
        eprintln!("warning {line}");
    }
    eprint!("{last}");
    how.end()
}

/// Checks that an error has the last words, and that they were heard, too.
#[track_caller]
fn check(how: How, last: &str, stderr: &str, heard: &str) {
    assert!(stderr.len() <= 4096, "{how:?}: {} bytes", stderr.len());
    assert!(stderr.contains(last), "{how:?}: {stderr:?}");
    assert!(stderr.contains(how.epitaph()), "{how:?}: {stderr:?}");
    assert!(
        heard.ends_with(stderr.trim_end_matches('\n')),
        "{how:?}: {stderr:?} {heard:?}"
    );
}

#[mp::test]
fn the_last_words_of_a_process_are_in_its_error_and_are_heard() {
    alone(|| {
        for how in MANNERS {
            for (lines, last) in [(0, "no end of line"), (3, "last\n"), (10_000, "last")] {
                let (sender, heard) = mpsc::channel();
                let builder = Builder::new().on_output(move |line| {
                    if line.stream() == mp::OutputStream::Stderr {
                        sender.send(line.text().into_owned()).unwrap();
                    }
                });
                let process = builder.spawn::<speak_and_end>((lines, last, how)).unwrap();
                let error = process.join().unwrap_err();
                let heard: Vec<_> = heard.into_iter().collect();
                check(how, last, error.stderr(), &heard.join("\n"));
                for line in 0..lines {
                    assert_eq!(heard[line as usize], format!("warning {line}"));
                }
                let text = error.to_string();
                match error {
                    ProcessError::Panicked(_) => assert_eq!(text.matches("on purpose").count(), 1),
                    _ => assert!(text.contains(last.trim_end()), "{text}"),
                }
            }
        }
    });
}

#[mp::test]
fn the_last_words_of_a_worker_are_in_its_tasks_error_and_are_heard() {
    alone(|| {
        for how in MANNERS {
            let (sender, heard) = mpsc::channel();
            let builder = Pool::builder().workers(1).on_output(move |line| {
                if line.stream() == mp::OutputStream::Stderr {
                    sender.send(line.to_string()).unwrap();
                }
            });
            let pool = builder.build().unwrap();
            let error = pool
                .apply::<speak_and_end>((100, "last\n", how))
                .unwrap_err();
            let pool_heard = || {
                drop(pool);
                heard.into_iter().collect::<Vec<_>>()
            };
            match (how, &error) {
                (How::Panic, TaskError::Panicked(panic)) => {
                    assert_eq!(panic.message(), "on purpose");
                    assert!(pool_heard().iter().any(|line| line.ends_with("on purpose")));
                }
                (_, TaskError::WorkerDied { stderr, worker, .. }) => {
                    let tag = format!("[{worker}] ");
                    let heard = pool_heard().join("\n").replace(&tag, "");
                    check(how, "last\n", stderr, &heard);
                    assert!(error.to_string().contains("last"), "{error}");
                }
                _ => panic!("{how:?}: {error:?}"),
            }
        }
    });
}

#[mp::test]
fn what_is_not_captured_is_in_no_error() {
    let _watchdog = Watchdog::new();
    for builder in [
        Builder::new().stderr(Stdio::null()),
        Builder::new().capture_output().stderr(Stdio::null()),
    ] {
        let process = builder
            .spawn::<speak_and_end>((1, "last", How::Abort))
            .unwrap();
        let error = process.join().unwrap_err();
        assert_eq!(error.stderr(), "");
        assert!(
            error.to_string().ends_with("the function was running"),
            "{error}"
        );
    }
}

#[mp::test]
fn the_last_words_of_a_program_that_takes_no_order_are_in_the_error() {
    let folder = Folder::new();
    let script = folder.script("refusing", "#!/bin/sh\necho no library >&2\nexit 3\n");
    alone(|| {
        mp::set_executable(&script);
        let builder = Builder::new().on_output(|_| {});
        let process = builder.spawn::<speak_and_end>((0, "", How::Abort)).unwrap();
        let error = process.join().unwrap_err();
        assert!(
            matches!(error, ProcessError::NotStarted { code: 3, .. }),
            "{error:?}"
        );
        assert_eq!(error.stderr(), "no library\n");
        assert!(error.to_string().ends_with("no library"), "{error}");
        mp::set_executable("/proc/self/exe");
    });
}

/// In the environment of programs that a child leaves behind.
const MARK: &str = "MULTIPROC_TESTS_HOLDER";

/// Leaves a program behind that prints on and on, and dies.
#[mp::process_fn]
fn leave_chatter(mark: &str) {
    let status = std::process::Command::new("sh")
        .args(["-c", "setsid yes chatter >&2 &"])
        .env(MARK, mark)
        .status();
    assert!(status.unwrap().success());
    std::io::stderr().write_all(b"the last words\n").unwrap();
    abort();
}

#[mp::test]
fn a_program_that_prints_on_holds_up_no_join() {
    let _watchdog = Watchdog::new();
    let mark = std::process::id().to_string();
    let (sender, heard) = mpsc::sync_channel(10);
    let builder = Builder::new().on_output(move |line| drop(sender.send(line.text().into_owned())));
    let process = builder.spawn::<leave_chatter>(&mark).unwrap();
    // The last words, and what the program says meanwhile.
    let (goes_on, is_going_on) = mpsc::channel();
    let listener = std::thread::spawn(move || {
        let mut heard = heard.into_iter();
        assert!(heard.any(|line| line == "the last words"));
        assert!(heard.any(|line| line == "chatter"));
        goes_on.send(()).unwrap();
        heard.for_each(drop);
    });
    let error = process.join().unwrap_err();
    assert!(
        matches!(error, ProcessError::Signaled { signal: 6, .. }),
        "{error:?}"
    );
    assert!(!error.stderr().is_empty() && error.stderr().len() <= 4096);
    // It is heard until it ends.
    is_going_on.recv().unwrap();
    for entry in marked(MARK, &mark) {
        let _ = Pid::from_raw(entry.pid.cast_signed()).map(|id| kill_process(id, Signal::KILL));
    }
    listener.join().unwrap();
    assert!(eventually(|| marked(MARK, &mark).is_empty().then_some(())).is_some());
}
