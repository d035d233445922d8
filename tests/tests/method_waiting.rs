//! Waiting for children of each method: by many threads at once, with others that wait for any child, for many children.

use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use futures::executor::block_on;
use futures::future::join_all;
use mp::{ChildProcess, Event, Process, ProcessError, StartMethod};
use multiproc_tests::methods;
use multiproc_tests::methods::{available, by, named, outcome, start, value};
use multiproc_tests::processes::{Watched, is_readable};
use multiproc_tests::watchdog::LIMIT;
use rustix::process::{Signal, WaitOptions};

methods! {
    a_child_is_alive_until_it_ends,
    every_wait_gives_the_same_status,
    signals_reach_a_child,
    signals_to_a_dead_child_are_no_errors,
    a_child_that_others_have_killed_is_told,
    eight_threads_wait_at_once,
    a_status_is_never_wrong_when_others_wait_for_any_child,
    a_dropped_process_runs_on,
    children_are_awaited,
    two_hundred_children_run_at_once,
    children_are_waited_for_in_any_order,
    many_short_children_follow_each_other,
    ; once:
    processes_of_all_methods_are_waited_for_at_once,
    processes_of_all_methods_are_awaited_at_once,
    many_threads_start_children_at_once,
}

#[mp::process_fn]
fn wait(begun: Event, end: Event) -> u8 {
    begun.set();
    end.wait().unwrap();
    7
}

#[mp::process_fn]
fn double(number: u64) -> u64 {
    2 * number
}

#[mp::process_fn]
fn end_with(how: u8) -> u8 {
    match how {
        0 => 7,
        1 => std::process::exit(9),
        2 => panic!("on purpose"),
        _ => std::process::abort(),
    }
}

/// A child that runs until it is told to end.
fn waiting(method: StartMethod) -> (Process<u8>, Event) {
    let (begun, end) = (Event::new().unwrap(), Event::new().unwrap());
    let process = start::<wait>(method, (begun.clone(), end.clone()));
    begun.wait().unwrap();
    (process, end)
}

fn a_child_is_alive_until_it_ends(method: StartMethod) {
    let (process, end) = waiting(method);
    assert!(process.is_alive());
    assert_eq!((process.exit_status(), process.exit_code()), (None, None));
    assert_eq!(process.wait_timeout(Duration::ZERO), None);
    assert_eq!(process.wait_timeout(Duration::from_millis(10)), None);
    assert!(!is_readable(&process, Duration::ZERO));
    end.set();
    assert!(is_readable(&process, LIMIT), "the descriptor tells the end");
    assert!(!process.is_alive());
    assert_eq!(process.exit_code(), Some(0));
    assert!(
        is_readable(&process, Duration::ZERO),
        "it still does after the status was taken"
    );
    assert_eq!(process.join().unwrap(), 7);
}

fn every_wait_gives_the_same_status(method: StartMethod) {
    for (how, code, signal) in [
        (0, Some(0), None),
        (1, Some(9), None),
        (2, Some(101), None),
        (3, None, Some(6)),
    ] {
        let builder = by(method).stderr(mp::Stdio::null());
        let process = builder.spawn::<end_with>(how).unwrap();
        let timeouts = [Duration::MAX, Duration::ZERO].map(|time| process.wait_timeout(time));
        let all = [
            Some(process.wait()),
            timeouts[0],
            timeouts[1],
            process.exit_status(),
        ];
        for status in all {
            let status = status.expect("it has ended");
            assert_eq!((status.code(), status.signal()), (code, signal), "{how}");
        }
        assert_eq!(process.exit_code(), code.or(signal.map(|signal| -signal)));
        assert_eq!(process.join().is_ok(), how == 0);
    }
}

type Send = fn(&ChildProcess) -> mp::Result<()>;

const SIGNALS: [(Send, i32); 3] = [
    (ChildProcess::terminate, 15),
    (ChildProcess::kill, 9),
    (ChildProcess::interrupt, 2),
];

fn signals_reach_a_child(method: StartMethod) {
    for (send, number) in SIGNALS {
        for daemon in [false, true] {
            let (begun, end) = (Event::new().unwrap(), Event::new().unwrap());
            let builder = by(method).daemon(daemon);
            let process = builder.spawn::<wait>((begun.clone(), end)).unwrap();
            begun.wait().unwrap();
            send(&process).unwrap();
            let status = process.wait();
            assert_eq!((status.code(), status.signal()), (None, Some(number)));
            let error = process.join().unwrap_err();
            assert!(
                matches!(error, ProcessError::Signaled { signal, .. } if signal == number),
                "{error:?}"
            );
        }
    }
}

fn signals_to_a_dead_child_are_no_errors(method: StartMethod) {
    let process = start::<double>(method, 1);
    assert!(is_readable(&process, LIMIT));
    // Its status has not been taken, and then it has.
    for _ in 0..2 {
        SIGNALS.iter().for_each(|(send, _)| send(&process).unwrap());
        assert_eq!(process.wait().code(), Some(0));
    }
    assert_eq!(process.join().unwrap(), 2);
}

fn a_child_that_others_have_killed_is_told(method: StartMethod) {
    for signal in [Signal::KILL, Signal::TERM, Signal::USR2] {
        let (process, _end) = waiting(method);
        let pid = rustix::process::Pid::from_raw(process.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
        let error = process.join().unwrap_err();
        let expected = signal.as_raw();
        assert!(
            matches!(error, ProcessError::Signaled { signal, .. } if signal == expected),
            "{error:?}"
        );
    }
}

fn eight_threads_wait_at_once(method: StartMethod) {
    // Threads come after the starts, or the next one could not be by copying.
    let (processes, ends): (Vec<_>, Vec<_>) = (0..20).map(|_| waiting(method)).unzip();
    thread::scope(|scope| {
        let waiter = |number| {
            let processes = &processes;
            move || {
                let wait = |process: &Process<u8>| match number % 4 {
                    0 => process.wait(),
                    1 => process.wait_timeout(LIMIT).unwrap(),
                    2 => loop {
                        if let Some(status) = process.exit_status() {
                            break status;
                        }
                        thread::yield_now();
                    },
                    _ => {
                        assert!(is_readable(process, LIMIT));
                        process.wait()
                    }
                };
                processes.iter().map(wait).collect::<Vec<_>>()
            }
        };
        let waiters: Vec<_> = (0..8).map(|number| scope.spawn(waiter(number))).collect();
        ends.iter().for_each(Event::set);
        for waiter in waiters {
            let statuses = waiter.join().unwrap();
            assert!(
                statuses.iter().all(|status| status.code() == Some(0)),
                "{statuses:?}"
            );
        }
    });
    for process in processes {
        assert_eq!(process.join().unwrap(), 7);
    }
}

/// Children that end in each manner, while a thread waits for any child, as some programs do.
fn a_status_is_never_wrong_when_others_wait_for_any_child(method: StartMethod) {
    let mut processes = Vec::new();
    for number in 0..20 {
        let (begun, end) = (Event::new().unwrap(), Event::new().unwrap());
        let builder = by(method).stderr(mp::Stdio::null());
        let process = builder
            .spawn::<end_later>((begun.clone(), end.clone(), number % 4))
            .unwrap();
        begun.wait().unwrap();
        processes.push((process, end, number % 4));
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if !matches!(rustix::process::wait(WaitOptions::NOHANG), Ok(Some(_))) {
                    thread::yield_now();
                }
            }
        });
        for (process, end, how) in processes {
            end.set();
            match (how, process.join()) {
                (0, Ok(7)) => {}
                (2, Err(ProcessError::Panicked(panic))) => {
                    assert_eq!(panic.message(), "on purpose")
                }
                (1, Err(ProcessError::Exited { code: 9, .. })) => {}
                (3, Err(ProcessError::Signaled { signal: 6, .. })) => {}
                // Nobody else can take it of a child of a fork server.
                (1 | 3, Err(ProcessError::Lost { .. })) if method != StartMethod::Forkserver => {}
                (how, outcome) => panic!("{how}: {outcome:?}"),
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[mp::process_fn]
fn end_later(begun: Event, end: Event, how: u8) -> u8 {
    begun.set();
    end.wait().unwrap();
    end_with(how)
}

fn a_dropped_process_runs_on(method: StartMethod) {
    let (process, end) = waiting(method);
    let (watched, done) = (Watched::new(process.id()), Event::new().unwrap());
    let other = start::<set>(method, (end.clone(), done.clone()));
    drop((process, other));
    assert_eq!(mp::active_children().len(), 2);
    end.set();
    done.wait().unwrap();
    watched.ends();
    for child in mp::active_children() {
        child.wait();
    }
    // It is not a zombie for longer than until the next start.
    assert_eq!(value::<double>(method, 1), 2);
}

#[mp::process_fn]
fn set(end: Event, done: Event) {
    end.wait().unwrap();
    done.set();
}

/// Awaits children, in a process whose thread for that is its own.
#[mp::process_fn]
fn await_children(method: &str) -> Vec<Result<u8, String>> {
    let method = named(method);
    let builder = || by(method).stderr(mp::Stdio::null());
    let processes: Vec<_> = (0..4)
        .map(|how| builder().spawn::<end_with>(how).unwrap().into_future())
        .collect();
    let mut ended = block_on(join_all(processes));
    if method != StartMethod::Fork {
        // What has ended before, and what has not.
        let process = start::<end_with>(method, 0);
        process.wait();
        ended.push(block_on(process.into_future()));
        let (process, end) = waiting(method);
        let waits = block_on(async {
            let mut future = Box::pin(process.into_future());
            let early = futures::future::poll_fn(|context| {
                std::task::Poll::Ready(future.as_mut().poll(context).is_pending())
            });
            assert!(early.await);
            end.set();
            future.await
        });
        ended.push(waits);
    }
    ended
        .into_iter()
        .map(|outcome| outcome.map_err(|error| error.to_string()))
        .collect()
}

fn children_are_awaited(method: StartMethod) {
    let ended = value::<await_children>(StartMethod::Spawn, method.name());
    assert_eq!(ended[0], Ok(7));
    for (index, words) in [(1, "exited with code 9"), (2, "on purpose"), (3, "SIGABRT")] {
        assert!(
            ended[index]
                .as_ref()
                .is_err_and(|error| error.contains(words)),
            "{ended:?}"
        );
    }
    assert!(ended[4..].iter().all(|value| *value == Ok(7)));
}

#[mp::process_fn]
fn meet(barrier: mp::Barrier, number: u64) -> (u64, u32) {
    barrier.wait().unwrap();
    (number, std::process::id())
}

fn two_hundred_children_run_at_once(method: StartMethod) {
    const ALL: u64 = 200;
    let barrier = mp::Barrier::new(ALL as usize).unwrap();
    let begin = |number| start::<meet>(method, (barrier.clone(), number));
    let processes: Vec<_> = (0..ALL).map(begin).collect();
    let mut pids = Vec::new();
    for (number, process) in (0..).zip(processes) {
        let id = process.id();
        assert_eq!(process.join().unwrap(), (number, id));
        pids.push(id);
    }
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len() as u64, ALL);
}

fn children_are_waited_for_in_any_order(method: StartMethod) {
    let (mut processes, mut ends): (Vec<_>, Vec<_>) = (0..10).map(|_| waiting(method)).unzip();
    for index in [9, 0, 4, 3, 2, 4, 1, 0, 1, 0] {
        let (process, end) = (processes.remove(index), ends.remove(index));
        end.set();
        let others: Vec<_> = processes.iter().map(|other| other.is_alive()).collect();
        assert_eq!(process.join().unwrap(), 7);
        assert!(others.iter().all(|alive| *alive));
    }
}

fn many_short_children_follow_each_other(method: StartMethod) {
    let before = mp::arena_stats().unwrap();
    for number in 0..300 {
        assert_eq!(outcome::<double>(method, number).unwrap(), 2 * number);
    }
    assert_eq!(mp::arena_stats().unwrap(), before);
}

fn processes_of_all_methods_are_waited_for_at_once() {
    let (processes, ends): (Vec<_>, Vec<_>) = available().into_iter().map(waiting).unzip();
    let event = Event::new().unwrap();
    let mut waited: Vec<&dyn mp::Waitable> = vec![&event];
    waited.extend(processes.iter().map(|process| process as &dyn mp::Waitable));
    assert!(mp::wait(&waited, Some(Duration::ZERO)).unwrap().is_empty());
    let mut ended = Vec::new();
    for index in (0..processes.len()).rev() {
        ends[index].set();
        processes[index].wait();
        ended.insert(0, index + 1);
        assert_eq!(mp::wait(&waited, Some(LIMIT)).unwrap(), ended);
    }
    event.set();
    ended.insert(0, 0);
    assert_eq!(mp::wait(&waited, None).unwrap(), ended);
    processes
        .into_iter()
        .for_each(|process| assert_eq!(process.join().unwrap(), 7));
}

#[mp::process_fn]
fn await_all() -> Vec<u64> {
    let methods: Vec<_> = available().into_iter().cycle().take(12).collect();
    let processes = (0..)
        .zip(methods)
        .map(|(number, method)| start::<double>(method, number));
    let processes: Vec<_> = processes.collect();
    let futures = processes.into_iter().map(IntoFuture::into_future);
    let all = block_on(join_all(futures));
    all.into_iter().map(Result::unwrap).collect()
}

fn processes_of_all_methods_are_awaited_at_once() {
    let doubles = value::<await_all>(StartMethod::Spawn, ());
    assert!(doubles.into_iter().eq((0..12).map(|number| 2 * number)));
}

/// Threads start children by both methods that they can.
fn many_threads_start_children_at_once() {
    let methods = [StartMethod::Spawn, StartMethod::Forkserver];
    thread::scope(|scope| {
        let starter = |first: u64| {
            move || {
                for number in first..first + 15 {
                    let method = methods[(number % 2) as usize];
                    let several: Vec<_> = (0..3).map(|_| start::<double>(method, number)).collect();
                    for process in several {
                        assert_eq!(process.join().unwrap(), 2 * number);
                    }
                }
            }
        };
        let starters: Vec<_> = (0..8)
            .map(|thread| scope.spawn(starter(100 * thread)))
            .collect();
        starters
            .into_iter()
            .for_each(|starter| starter.join().unwrap());
    });
    // They have ended, and so it can be copied again.
    for method in available() {
        assert_eq!(value::<double>(method, 4), 8);
    }
}
