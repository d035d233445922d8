//! How children end, in each manner, by each start method.

use std::os::unix::process::ExitStatusExt;
use std::panic::{catch_unwind, panic_any};
use std::process::{Stdio, abort};
use std::thread;

use mp::{ProcessError, Ran, StartMethod};
use multiproc_tests::clib::{Disposition, disposition, set_disposition};
use multiproc_tests::methods;
use multiproc_tests::methods::{by, failure, named, pairs, start, threads, value};
use rustix::process::{Signal, getpid, kill_process};

methods! {
    panics_are_told_with_all_that_is_known,
    panics_with_any_payload_are_told,
    panics_that_are_caught_are_nobodys_business,
    panics_of_other_threads_are_theirs,
    panics_are_told_whatever_hook_the_parent_has,
    panics_of_children_that_are_started_while_their_parent_unwinds_are_told,
    exit_codes_are_those_of_the_system,
    exits_of_other_threads_count,
    signals_that_end_a_child_are_told,
    aborts_and_overflows_are_told,
    panics_while_a_panic_unwinds_abort,
    signals_have_their_default_action_or_are_ignored,
    blocked_signals_are_blocked_in_nobody_else,
    children_that_end_early_leave_nothing,
    threads_that_are_left_running_end_with_their_process,
    children_end_well_where_the_signal_of_their_end_is_ignored,
    ; once:
    panics_of_grandchildren_are_printed_once,
    ends_of_grandchildren_are_told_by_each_pair_of_methods,
}

#[mp::process_fn]
fn refuse(age: i32) -> i32 {
    assert!(age >= 0, "{age} is no age\nof anybody");
    age
}

/// The place of the assertion above.
fn place() -> String {
    let lines = include_str!("method_ends.rs").lines();
    let before = lines.take_while(|line| !line.contains("assert!(age >= 0"));
    format!("tests/tests/method_ends.rs:{}:5", before.count() + 1)
}

fn panics_are_told_with_all_that_is_known(method: StartMethod) {
    for name in [None, Some("a name of one's own, which is long")] {
        let builder = by(method).stderr(Stdio::null());
        let builder = match name {
            Some(name) => builder.name(name),
            None => builder,
        };
        let process = builder.spawn::<refuse>(-7).unwrap();
        let (name, pid) = (process.name().to_owned(), process.id());
        assert_eq!(
            (process.wait().code(), process.exit_code()),
            (Some(101), Some(101))
        );
        let error = process.join().unwrap_err();
        let ProcessError::Panicked(panic) = &error else {
            panic!("{error:?}")
        };
        assert_eq!(panic.message(), "-7 is no age\nof anybody");
        assert_eq!(panic.location(), Some(&*place()));
        assert_eq!(panic.thread(), Some("main"));
        assert_eq!(panic.backtrace(), None);
        let subject = panic.subject();
        assert_eq!(
            (&subject.name, subject.pid, subject.ran),
            (&name, pid, Ran::Partly)
        );
        assert_eq!(subject.function, "method_ends::refuse");
        for words in [&name, &pid.to_string(), "`method_ends::refuse`", &place()] {
            assert!(error.to_string().contains(words), "{words}: {error}");
        }
    }
    assert_eq!(value::<refuse>(method, 7), 7);
}

#[mp::process_fn]
fn throw(kind: u8) {
    match kind {
        0 => panic_any(7_u64),
        1 => panic_any("a text".to_owned()),
        2 => panic!("{}", "long ".repeat(100_000)),
        3 => panic!(),
        4 => std::hint::black_box(None).expect("there is something"),
        _ => assert_eq!([1, 2, 3][usize::from(kind)], 0),
    }
}

fn panics_with_any_payload_are_told(method: StartMethod) {
    let long = "long ".repeat(100_000);
    for (kind, message) in (0..).zip([
        "a value that is no text was thrown",
        "a text",
        &long,
        "explicit panic",
        "there is something",
        "index out of bounds: the len is 3 but the index is 5",
    ]) {
        let process = by(method).stderr(Stdio::null()).spawn::<throw>(kind);
        let error = process.unwrap().join().unwrap_err();
        let ProcessError::Panicked(panic) = &error else {
            panic!("{error:?}")
        };
        assert!(panic.message() == message, "{kind}: {error:?}");
        assert!(panic.location().is_some(), "{kind}: {error:?}");
    }
}

#[mp::process_fn]
fn catch(times: u32) -> (u32, bool) {
    let caught = (0..times).filter(|_| catch_unwind(|| panic!("caught")).is_err());
    (caught.count() as u32, thread::panicking())
}

fn panics_that_are_caught_are_nobodys_business(method: StartMethod) {
    let process = by(method).stderr(Stdio::null()).spawn::<catch>(3).unwrap();
    assert_eq!(process.join().unwrap(), (3, false));
}

#[mp::process_fn]
fn panic_elsewhere(then: bool) -> (u8, Option<String>) {
    let named = thread::Builder::new().name("worker".to_owned());
    let panicked = named.spawn(|| panic!("of a thread")).unwrap().join();
    assert!(panicked.is_err());
    assert!(!then, "of the function");
    (7, thread::current().name().map(str::to_owned))
}

fn panics_of_other_threads_are_theirs(method: StartMethod) {
    let run = |then| {
        by(method)
            .stderr(Stdio::null())
            .spawn::<panic_elsewhere>(then)
            .unwrap()
    };
    assert_eq!(run(false).join().unwrap(), (7, Some("main".to_owned())));
    let error = run(true).join().unwrap_err();
    let ProcessError::Panicked(panic) = &error else {
        panic!("{error:?}")
    };
    assert_eq!(
        (panic.message(), panic.thread()),
        ("of the function", Some("main"))
    );
}

/// Has a hook of its own while it starts a child, and another one after that.
fn panics_are_told_whatever_hook_the_parent_has(method: StartMethod) {
    std::panic::set_hook(Box::new(|_| {}));
    let process = by(method)
        .stderr(Stdio::null())
        .spawn::<refuse>(-1)
        .unwrap();
    std::panic::set_hook(Box::new(|_| std::process::exit(3)));
    let error = process.join().unwrap_err();
    let _ = std::panic::take_hook();
    let ProcessError::Panicked(panic) = &error else {
        panic!("{error:?}")
    };
    assert_eq!(panic.message(), "-1 is no age\nof anybody");
    assert_eq!(panic.location(), Some(&*place()));
}

/// Starts a child when it is dropped, and keeps what becomes of it.
struct Starts<'a>(StartMethod, i32, &'a mut Option<Result<i32, ProcessError>>);

impl Drop for Starts<'_> {
    fn drop(&mut self) {
        let process = by(self.0).stderr(Stdio::null()).spawn::<refuse>(self.1);
        *self.2 = Some(process.unwrap().join());
    }
}

fn panics_of_children_that_are_started_while_their_parent_unwinds_are_told(method: StartMethod) {
    let unwind = |age| {
        let mut outcome = None;
        let unwinding = catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _starts = Starts(method, age, &mut outcome);
            panic!("of the parent");
        }));
        unwinding.unwrap_err();
        outcome.unwrap()
    };
    assert_eq!(unwind(7), Ok(7));
    let error = unwind(-7).unwrap_err();
    let ProcessError::Panicked(panic) = &error else {
        panic!("{error:?}")
    };
    assert_eq!(panic.message(), "-7 is no age\nof anybody");
    // The copy of a thread that unwinds may not watch for panics, so that the place is not known.
    if method != StartMethod::Fork {
        assert_eq!(panic.location(), Some(&*place()));
    }
}

#[mp::process_fn]
fn exit(code: i32) -> u8 {
    std::process::exit(code)
}

fn exit_codes_are_those_of_the_system(method: StartMethod) {
    for (code, seen) in [
        (0, 0),
        (1, 1),
        (7, 7),
        (70, 70),
        (71, 71),
        (101, 101),
        (255, 255),
        (256, 0),
        (-1, 255),
    ] {
        let process = start::<exit>(method, code);
        let pid = process.id();
        assert_eq!(process.wait().code(), Some(seen), "{code}");
        assert_eq!(process.exit_code(), Some(seen), "{code}");
        let error = process.join().unwrap_err();
        let ProcessError::Exited {
            code: told,
            subject,
        } = &error
        else {
            panic!("{error:?}")
        };
        assert_eq!((*told, subject.pid, subject.ran), (seen, pid, Ran::Partly));
    }
}

#[mp::process_fn]
fn exit_elsewhere() -> u8 {
    thread::spawn(|| std::process::exit(9));
    loop {
        thread::park();
    }
}

fn exits_of_other_threads_count(method: StartMethod) {
    let error = failure::<exit_elsewhere>(method, ());
    assert!(
        matches!(error, ProcessError::Exited { code: 9, .. }),
        "{error:?}"
    );
}

#[mp::process_fn]
fn raise(signal: i32) {
    let signal = Signal::from_named_raw(signal).expect("a signal");
    kill_process(getpid(), signal).expect("a process may signal itself");
    // A signal that nobody handles is there before the call returns.
    unreachable!("{signal:?} does not end the process");
}

fn signals_that_end_a_child_are_told(method: StartMethod) {
    for signal in [
        Signal::KILL,
        Signal::TERM,
        Signal::INT,
        Signal::HUP,
        Signal::QUIT,
        Signal::USR1,
        Signal::USR2,
        Signal::ALARM,
        Signal::ABORT,
        Signal::FPE,
    ] {
        let number = signal.as_raw();
        let process = start::<raise>(method, number);
        let pid = process.id();
        let status = process.wait();
        assert_eq!(
            (status.code(), status.signal()),
            (None, Some(number)),
            "{signal:?}"
        );
        assert_eq!(process.exit_code(), Some(-number));
        let error = process.join().unwrap_err();
        let ProcessError::Signaled {
            signal: told,
            subject,
            ..
        } = &error
        else {
            panic!("{error:?}")
        };
        assert_eq!(
            (*told, subject.pid, subject.ran),
            (number, pid, Ran::Partly)
        );
    }
}

#[mp::process_fn]
fn crash(how: u8) {
    match how {
        0 => abort(),
        _ => drop(overflow(1)),
    }
}

#[expect(unconditional_recursion, reason = "that is its purpose")]
fn overflow(n: u64) -> u64 {
    std::hint::black_box([n; 64]);
    overflow(n + 1) + 1
}

/// An overflow of the stack is told to the user, as it is in any Rust program, and not only by a signal.
fn aborts_and_overflows_are_told(method: StartMethod) {
    for (how, words) in [(0, ""), (1, "has overflowed its stack")] {
        let process = by(method)
            .stderr(mp::Stdio::piped())
            .spawn::<crash>(how)
            .unwrap();
        let stderr = std::io::read_to_string(process.take_stderr().unwrap()).unwrap();
        let error = process.join().unwrap_err();
        assert!(
            matches!(&error, ProcessError::Signaled { signal: 6, subject, .. } if subject.ran == Ran::Partly),
            "{how}: {error:?}"
        );
        assert!(stderr.contains(words), "{how}: {stderr}");
    }
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("the second panic");
    }
}

#[mp::process_fn]
fn panic_twice() {
    let _panics = PanicsWhenDropped;
    panic!("the first panic");
}

fn panics_while_a_panic_unwinds_abort(method: StartMethod) {
    let process = by(method)
        .stderr(Stdio::null())
        .spawn::<panic_twice>(())
        .unwrap();
    let error = process.join().unwrap_err();
    assert!(
        matches!(error, ProcessError::Signaled { signal: 6, .. }),
        "{error:?}"
    );
}

#[mp::process_fn]
fn dispositions(signals: Vec<i32>) -> Vec<String> {
    let name = |signal| format!("{:?}", disposition(signal));
    signals.into_iter().map(name).collect()
}

/// As after an execution: what the parent handles it handles itself, and what it ignores is ignored.
fn signals_have_their_default_action_or_are_ignored(method: StartMethod) {
    let [hup, usr1, usr2, pipe] =
        [Signal::HUP, Signal::USR1, Signal::USR2, Signal::PIPE].map(Signal::as_raw);
    set_disposition(hup, Disposition::Ignored);
    set_disposition(usr1, Disposition::Handled);
    let seen = value::<dispositions>(method, vec![usr1, usr2, pipe]);
    assert_eq!(seen, ["Default", "Default", "Ignored"]);
    // A fork server is as its owner was when it was made.
    if method != StartMethod::Forkserver {
        assert_eq!(value::<dispositions>(method, vec![hup]), ["Ignored"]);
    }
    let error = failure::<raise>(method, usr1);
    assert!(
        matches!(error, ProcessError::Signaled { signal, .. } if signal == usr1),
        "{error:?}"
    );
    assert_eq!(
        disposition(usr1),
        Disposition::Handled,
        "the parent's is as it was"
    );
    set_disposition(hup, Disposition::Default);
    set_disposition(usr1, Disposition::Default);
}

#[mp::process_fn]
fn blocked() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find(|line| line.starts_with("SigBlk:"));
    mask.unwrap().to_owned()
}

fn blocked_signals_are_blocked_in_nobody_else(method: StartMethod) {
    assert_eq!(value::<blocked>(method, ()), blocked());
    assert!(blocked().ends_with("0000000000000000"), "{}", blocked());
}

type Handles = (mp::Queue<String>, mp::Lock, mp::Value<u64>);

#[mp::process_fn]
fn end_with_all_in_hand(how: u8, handles: Handles, new: mp::Queue<mp::Queue<String>>) {
    let (_queue, lock, value) = &handles;
    let _guards = (lock.lock().unwrap(), value.lock().unwrap());
    let queue = mp::Queue::new().unwrap();
    queue.put("item".repeat(1000)).unwrap();
    new.put(queue.clone()).unwrap();
    match how {
        0 => std::process::exit(0),
        1 => kill_process(getpid(), Signal::KILL).unwrap(),
        2 => abort(),
        _ => panic!("with all in hand"),
    }
}

fn children_that_end_early_leave_nothing(method: StartMethod) {
    for how in 0..4 {
        let queue = mp::Queue::new().unwrap();
        queue.put("left".repeat(1000)).unwrap();
        let (lock, locked) = (mp::Lock::new().unwrap(), mp::Value::new(1_u64).unwrap());
        let new = mp::Queue::new().unwrap();
        let handles = (queue.clone(), lock.clone(), locked.clone());
        let process = by(method)
            .stderr(Stdio::null())
            .spawn::<end_with_all_in_hand>((how, handles, new.clone()))
            .unwrap();
        let pid = process.id();
        process.join().unwrap_err();
        // What it gave away outlives it, and whose locks it had is told.
        assert_eq!(new.get().unwrap().get().unwrap().len(), 4000);
        if how != 3 {
            let error = lock.lock().expect_err("its owner died").to_string();
            assert!(error.contains(&pid.to_string()), "{how}: {error}");
        }
        let _recovered = locked.lock().is_ok();
        assert_eq!(queue.len(), 1);
    }
}

#[mp::process_fn]
fn leave_threads(ready: mp::Barrier, panic: bool) -> usize {
    for _ in 0..3 {
        let ready = ready.clone();
        thread::spawn(move || {
            ready.wait().unwrap();
            loop {
                thread::park();
            }
        });
    }
    ready.wait().unwrap();
    assert!(!panic, "with threads");
    threads()
}

fn threads_that_are_left_running_end_with_their_process(method: StartMethod) {
    let ready = mp::Barrier::new(4).unwrap();
    assert_eq!(value::<leave_threads>(method, (ready.clone(), false)), 4);
    let process = by(method)
        .stderr(Stdio::null())
        .spawn::<leave_threads>((ready, true));
    let error = process.unwrap().join().unwrap_err();
    assert!(matches!(error, ProcessError::Panicked(_)), "{error:?}");
}

/// Starts a child that ends in some way, and tells how it saw that.
#[mp::process_fn]
fn watch(method: &str, how: u8) -> String {
    let method = named(method);
    match how {
        0 => failure_of(start::<refuse>(method, -7)),
        1 => failure_of(start::<exit>(method, 9)),
        2 => failure_of(start::<raise>(method, 9)),
        _ => failure_of(start::<crash>(method, 1)),
    }
}

fn failure_of<R: serde::de::DeserializeOwned>(process: mp::Process<R>) -> String {
    match process.join() {
        Ok(_) => "a value".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn ends_of_grandchildren_are_told_by_each_pair_of_methods() {
    for [first, second] in pairs() {
        for (how, words) in (0..).zip([&*place(), "exited with code 9", "SIGKILL", "SIGABRT"]) {
            let builder = by(first).stderr(Stdio::null());
            let told = builder
                .spawn::<watch>((second.name(), how))
                .unwrap()
                .join()
                .unwrap();
            assert!(told.contains(words), "{first}, {second}: {told}");
            assert!(
                told.contains("the function was running"),
                "{first}, {second}: {told}"
            );
        }
    }
}

/// Prints one panic, of a grandchild.
#[mp::process_fn]
fn panic_below(method: &str) {
    let panicked = start::<refuse>(named(method), -7).join();
    panicked.unwrap_err();
}

fn panics_of_grandchildren_are_printed_once() {
    for [first, second] in pairs() {
        let builder = by(first).stderr(mp::Stdio::piped());
        let process = builder.spawn::<panic_below>(second.name()).unwrap();
        let stderr = std::io::read_to_string(process.take_stderr().unwrap()).unwrap();
        process.join().unwrap();
        assert_eq!(
            stderr.matches(" panicked at ").count(),
            1,
            "{first}, {second}: {stderr}"
        );
        assert_eq!(
            stderr.matches("-7 is no age").count(),
            1,
            "{first}, {second}: {stderr}"
        );
    }
}

/// Ignores SIGCHLD, so that the kernel reaps its children, and tells what it sees of those that a method starts.
#[mp::process_fn]
fn ignore_ends(method: &str) -> Vec<String> {
    set_disposition(Signal::CHILD.as_raw(), Disposition::Ignored);
    let method = named(method);
    let builder = by(method).stderr(Stdio::null());
    let value = start::<refuse>(method, 7).join();
    let panic = failure_of(builder.spawn::<refuse>(-7).unwrap());
    let exit = failure_of(start::<exit>(method, 9));
    let kill = failure_of(start::<raise>(method, 9));
    vec![format!("{value:?}"), panic, exit, kill]
}

/// What a child leaves is there all the same; its exit status may be lost, and is not wrong.
fn children_end_well_where_the_signal_of_their_end_is_ignored(method: StartMethod) {
    let told = value::<ignore_ends>(StartMethod::Spawn, method.name());
    assert_eq!(told[0], "Ok(7)");
    assert!(told[1].contains(&place()), "{told:?}");
    assert!(
        told[2].contains("code 9") || told[2].contains("lost"),
        "{told:?}"
    );
    assert!(
        told[3].contains("SIGKILL") || told[3].contains("lost"),
        "{told:?}"
    );
}
