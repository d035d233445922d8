//! Waiting for processes, looking at them, and sending them signals.

use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use mp::ProcessError;
use multiproc_tests::leaks::{alone, nothing};
use multiproc_tests::processes::{Watched, children, is_readable, kernel_tells_of_the_reaped};
use multiproc_tests::watchdog::{LIMIT, Watchdog};

#[mp::process_fn]
fn wait(event: mp::Event) -> u32 {
    event.wait().unwrap();
    7
}

#[mp::process_fn]
fn exit(code: i32) {
    std::process::exit(code);
}

#[mp::process_fn]
fn sleep(ready: mp::Event) {
    ready.set();
    loop {
        thread::park();
    }
}

fn sleeper() -> mp::Process<()> {
    let ready = mp::Event::new().unwrap();
    let process = mp::spawn!(sleep, ready.clone()).unwrap();
    ready.wait().unwrap();
    process
}

#[mp::test]
fn a_process_is_alive_until_it_ends() {
    let _watchdog = Watchdog::new();
    let release = mp::Event::new().unwrap();
    let process = mp::spawn!(wait, release.clone()).unwrap();
    assert!(process.is_alive());
    assert_eq!(process.exit_status(), None);
    assert_eq!(process.exit_code(), None);
    assert_eq!(process.wait_timeout(Duration::ZERO), None);
    assert_eq!(process.wait_timeout(Duration::from_millis(10)), None);
    assert!(!is_readable(&process, Duration::ZERO));
    release.set();
    assert!(is_readable(&process, LIMIT), "the descriptor tells the end");
    assert!(!process.is_alive());
    assert_eq!(process.exit_code(), Some(0));
    assert!(
        is_readable(&process, Duration::ZERO),
        "it still does after the status was taken"
    );
    assert_eq!(process.join().unwrap(), 7);
}

#[mp::test]
fn every_wait_gives_the_same_status() {
    let _watchdog = Watchdog::new();
    for code in [0, 1, 7, 101, 255] {
        let process = mp::spawn!(exit, code).unwrap();
        for status in [process.wait(), process.wait()] {
            assert_eq!(status.code(), Some(code));
        }
        assert_eq!(
            process
                .wait_timeout(Duration::ZERO)
                .and_then(|status| status.code()),
            Some(code)
        );
        assert_eq!(
            process
                .wait_timeout(Duration::MAX)
                .and_then(|status| status.code()),
            Some(code)
        );
        assert_eq!(
            process.exit_status().and_then(|status| status.code()),
            Some(code)
        );
        assert_eq!(process.exit_code(), Some(code));
        let error = process.join().unwrap_err();
        assert!(
            matches!(error, ProcessError::Exited { code: exited, .. } if exited == code),
            "{error:?}"
        );
    }
}

type Signal = fn(&mp::ChildProcess) -> mp::Result<()>;

#[mp::test]
fn a_signal_is_the_negative_exit_code() {
    let _watchdog = Watchdog::new();
    let signals: [(Signal, i32); 3] = [
        (mp::ChildProcess::terminate, 15),
        (mp::ChildProcess::kill, 9),
        (mp::ChildProcess::interrupt, 2),
    ];
    for (send, number) in signals {
        let process = sleeper();
        send(&process).unwrap();
        let status = process.wait();
        assert_eq!((status.code(), status.signal()), (None, Some(number)));
        assert_eq!(process.exit_code(), Some(-number));
        for (again, _) in signals {
            again(&process).expect("nothing happens to a dead process");
        }
        let error = process.join().unwrap_err();
        assert!(
            matches!(error, ProcessError::Signaled { signal, .. } if signal == number),
            "{error:?}"
        );
    }
}

#[mp::test]
fn signals_to_a_zombie_are_no_errors() {
    let _watchdog = Watchdog::new();
    let process = mp::spawn!(nothing).unwrap();
    // Its descriptor tells the end, but nobody has taken its status.
    assert!(is_readable(&process, LIMIT));
    process.terminate().unwrap();
    process.kill().unwrap();
    process.interrupt().unwrap();
    assert_eq!(process.exit_code(), Some(0));
    process.join().unwrap();
}

#[mp::test]
fn eight_threads_wait_at_once() {
    alone(|| {
        for round in 0..50 {
            let release = mp::Event::new().unwrap();
            let process = mp::spawn!(wait, release.clone()).unwrap();
            let barrier = Barrier::new(9);
            thread::scope(|scope| {
                let waiters: Vec<_> = (0..8)
                    .map(|number| {
                        let (process, barrier) = (&process, &barrier);
                        scope.spawn(move || {
                            barrier.wait();
                            match number % 4 {
                                0 => process.wait(),
                                1 => process.wait_timeout(LIMIT).unwrap(),
                                2 => loop {
                                    if let Some(status) = process.exit_status() {
                                        break status;
                                    }
                                },
                                _ => {
                                    assert!(is_readable(process, LIMIT));
                                    process.wait()
                                }
                            }
                        })
                    })
                    .collect();
                barrier.wait();
                release.set();
                for waiter in waiters {
                    assert_eq!(waiter.join().unwrap().code(), Some(0), "round {round}");
                }
            });
            assert_eq!(process.join().unwrap(), 7);
        }
    });
}

#[mp::test]
fn threads_wait_signal_and_drop_at_once() {
    alone(|| {
        for _ in 0..50 {
            let process = sleeper();
            thread::scope(|scope| {
                for number in 0..8 {
                    let process = &process;
                    scope.spawn(move || match number % 4 {
                        0 => drop(process.wait()),
                        1 => process.kill().unwrap(),
                        2 => drop(mp::active_children()),
                        _ => drop(process.is_alive()),
                    });
                }
            });
            drop(process);
        }
    });
}

#[mp::test]
fn active_children_are_those_that_run() {
    alone(|| {
        assert!(mp::active_children().is_empty());
        let release = mp::Event::new().unwrap();
        let spawn = |name: &str, daemon| {
            mp::Builder::new()
                .name(name)
                .daemon(daemon)
                .spawn::<wait>(release.clone())
                .unwrap()
        };
        let (first, second) = (spawn("first", false), spawn("second", true));
        drop(spawn("dropped", false));
        let mut active = mp::active_children();
        active.sort_by(|a, b| a.name().cmp(b.name()));
        let seen: Vec<_> = active
            .iter()
            .map(|child| (child.name(), child.is_daemon(), child.function()))
            .collect();
        let function = "process_wait::wait";
        assert_eq!(
            seen,
            [
                ("dropped", false, function),
                ("first", false, function),
                ("second", true, function)
            ]
        );
        assert_eq!(active[1].id(), first.id());
        release.set();
        for child in &active {
            child.wait();
        }
        assert!(mp::active_children().is_empty());
        assert_eq!((first.join().unwrap(), second.join().unwrap()), (7, 7));
    });
}

#[mp::test]
fn a_dropped_process_runs_on() {
    alone(|| {
        let (release, done) = (mp::Event::new().unwrap(), mp::Event::new().unwrap());
        let process = mp::spawn!(wait_and_tell, release.clone(), done.clone()).unwrap();
        let watched = Watched::new(process.id());
        drop(process);
        assert!(!done.is_set());
        release.set();
        done.wait().unwrap();
        watched.ends();
        // It is not a zombie for longer than until the next start.
        mp::spawn!(nothing).unwrap().join().unwrap();
        assert_eq!(children(), []);
    });
}

#[mp::process_fn]
fn wait_and_tell(release: mp::Event, done: mp::Event) {
    release.wait().unwrap();
    done.set();
}

#[mp::test]
fn a_join_ends_when_the_process_does_even_if_its_streams_are_held_open() {
    let _watchdog = Watchdog::new();
    let process = mp::Builder::new()
        .stdout(mp::Stdio::piped())
        .spawn::<leave_a_program>(())
        .unwrap();
    let stdout = process.take_stdout();
    // The program ends when its input does.
    assert_eq!(process.wait().code(), Some(0));
    drop(stdout);
    process.join().unwrap();
}

/// Starts a program that outlives this process, and has its standard streams.
#[mp::process_fn]
fn leave_a_program() {
    // It ends by SIGPIPE, when nobody reads any more.
    let mut yes = Command::new("yes");
    #[expect(clippy::zombie_processes, reason = "this process ends")]
    yes.spawn().unwrap();
}

#[mp::test]
fn a_status_that_somebody_else_took_is_known_from_the_value() {
    alone(|| {
        let process = mp::spawn!(nothing).unwrap();
        steal_status(process.id());
        assert_eq!(process.wait().code(), Some(0));
        process.join().unwrap();

        let process = mp::spawn!(exit, 7).unwrap();
        steal_status(process.id());
        assert!(!process.is_alive());
        if kernel_tells_of_the_reaped() {
            assert_eq!(process.exit_code(), Some(7));
            assert_eq!(process.wait().code(), Some(7));
            let error = process.join().unwrap_err();
            assert!(
                matches!(error, ProcessError::Exited { code: 7, .. }),
                "{error:?}"
            );
            return;
        }
        assert_eq!(process.exit_code(), None);
        let panic = catch_unwind(AssertUnwindSafe(|| process.wait())).unwrap_err();
        assert!(
            panic
                .downcast_ref::<String>()
                .is_some_and(|text| text.contains("something else in this program"))
        );
        let error = process.join().unwrap_err();
        assert!(matches!(error, ProcessError::Lost { .. }), "{error:?}");
        assert!(error.to_string().contains("waitpid(-1)"), "{error}");
    });
}

fn steal_status(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed());
    rustix::process::waitpid(pid, rustix::process::WaitOptions::empty())
        .unwrap()
        .unwrap();
}
