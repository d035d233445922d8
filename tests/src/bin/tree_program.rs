//! A program that is a tree of processes, for tests of its life and death.
//!
//! - `family METHODS STATE WAY`: daemons in three generations by the three methods, a child that is no daemon, and a pool; then
//!   `main` ends in one of several ways;
//! - `storm METHOD`: children of all kinds, as fast as they can be started, for ever;
//! - `terminal METHOD WAY`: children who wait, and a terminal to which somebody presses Ctrl-C;
//! - `limit (nofile | nproc) METHOD`: as many children as the system allows;
//! - `main`: nothing but to say that it ran;
//! - `values METHOD`: a child, a grandchild, a daemon and a pool, each of which gives a value.

use std::fmt::Debug;
use std::io::{self, IsTerminal};
use std::iter::zip;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs, hint, process, thread};

use multiproc_tests::processes::{Watched, children, descriptors, fork_server};
use multiproc_tests::trees::{self, by, storm};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, geteuid, getpid, getrlimit, getuid, ioctl_tiocsctty,
    kill_process, prlimit, setsid,
};
use serde::de::DeserializeOwned;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

#[mp::main]
fn main() -> Result<ExitCode, String> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["family", methods, state, way] => {
            let methods: Vec<_> = methods.split(',').collect();
            match way {
                "tokio" => ends_in_a_runtime(&methods, state),
                "tokio-threads" => ends_in_a_runtime_of_threads(&methods, state),
                _ => {
                    let _family = Family::new(&methods, state);
                    println!("ready");
                    end(way)
                }
            }
        }
        ["storm", method] => {
            println!("begun");
            storm(method, mp::Event::new().map_err(|error| error.to_string())?);
            unreachable!("it has no end")
        }
        ["terminal", method, way] => terminal(method, way),
        ["limit", resource, method] => limit(resource, method),
        ["main"] => {
            let set = getuid() != geteuid();
            println!(
                "set-user-id: {set}, mark: {:?}",
                env::var_os("MULTIPROC_CHILD")
            );
            Ok(ExitCode::SUCCESS)
        }
        ["values", method] => values(method).map_err(|error| error.to_string()),
        _ => Err(format!("what is {words:?}?")),
    }
}

// What ends with its parent, or does not.

struct Family {
    _pool: mp::Pool,
    _tasks: Vec<mp::Task<()>>,
}

impl Family {
    /// Returns when all of them are there, and busy if they are to be.
    fn new(methods: &[&str], state: &str) -> Self {
        let ready = mp::Semaphore::new(0).expect("making a semaphore");
        let (first, rest) = methods.split_first().expect("a method");
        let daemon = by(first)
            .daemon(true)
            .spawn::<daemon>((rest.to_vec(), state, ready.clone()))
            .expect("starting a daemon");
        by(first)
            .spawn::<child>((rest[0], daemon.id(), ready.clone()))
            .expect("starting a child");
        // Last: it has threads.
        let pool = mp::Pool::builder()
            .workers(2)
            .start_method(trees::method(first));
        let pool = pool.build().expect("making a pool");
        pool.map::<square>(0..10).expect("the pool works");
        let busy = if state == "idle" { 0 } else { 2 };
        let tasks: Vec<_> = (0..busy)
            .map(|_| pool.submit::<act>((state.to_owned(), ready.clone())))
            .map(|task| task.expect("submitting"))
            .collect();
        for _ in 0..methods.len() + 1 + tasks.len() {
            ready.acquire().expect("they begin").forget();
        }
        Self {
            _pool: pool,
            _tasks: tasks,
        }
    }
}

#[mp::process_fn]
fn square(n: u64) -> u64 {
    n * n
}

/// Has a daemon of its own, by the first of the methods, and that one by the next.
#[mp::process_fn]
fn daemon(methods: Vec<&str>, state: &str, ready: mp::Semaphore) {
    if let Some((first, rest)) = methods.split_first() {
        by(first)
            .daemon(true)
            .spawn::<daemon>((rest.to_vec(), state, ready.clone()))
            .expect("starting a daemon of a daemon");
    }
    act(state.to_owned(), ready);
}

/// Does what the state says, without an end.
#[mp::process_fn]
fn act(state: String, ready: mp::Semaphore) {
    let release = || ready.release().expect("releasing");
    match &*state {
        "busy" => {
            release();
            loop {
                hint::spin_loop();
            }
        }
        // It takes SIGTERM, and goes on.
        "stubborn" => on_this_thread(async {
            let mut terminated = signal(SignalKind::terminate()).expect("handling SIGTERM");
            release();
            loop {
                terminated.recv().await;
            }
        }),
        _ => {
            release();
            loop {
                thread::park();
            }
        }
    }
}

fn on_this_thread<R>(future: impl Future<Output = R>) -> R {
    let mut runtime = runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().expect("making a runtime");
    runtime.block_on(future)
}

/// Ends when its parent's daemon has ended: to join it first would take for ever. Its own daemon lives as long as it.
#[mp::process_fn]
fn child(method: &str, daemon: u32, ready: mp::Semaphore) -> Vec<u8> {
    let begun = mp::Semaphore::new(0).expect("making a semaphore");
    let nephew = by(method)
        .daemon(true)
        .spawn::<act>(("idle".to_owned(), begun.clone()))
        .expect("starting a nephew");
    begun.acquire().expect("it begins").forget();
    let daemon = Watched::new(daemon);
    ready.release().expect("releasing");
    daemon.ends();
    assert!(nephew.is_alive(), "its parent has not ended");
    println!("the child ends");
    vec![1; 1 << 20]
}

fn end(way: &str) -> Result<ExitCode, String> {
    match way {
        "return" => Ok(ExitCode::from(3)),
        "error" => Err("an error".to_owned()),
        "exit" => process::exit(7),
        "exit-on-thread" => thread::spawn(|| process::exit(9))
            .join()
            .map_err(|_| "unreachable".to_owned()),
        "panic" => panic!("a panic"),
        "abort" => process::abort(),
        "kill" | "terminate" => {
            let signal = if way == "kill" {
                Signal::KILL
            } else {
                Signal::TERM
            };
            kill_process(getpid(), signal).expect("a process may kill itself");
            unreachable!("a signal ends it")
        }
        // Somebody else ends it.
        "wait" => loop {
            thread::park();
        },
        _ => Err(format!("what is {way}?")),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn ends_in_a_runtime(methods: &[&str], state: &str) -> Result<ExitCode, String> {
    let _family = Family::new(methods, state);
    println!("ready");
    Ok(ExitCode::from(3))
}

#[tokio::main]
async fn ends_in_a_runtime_of_threads(methods: &[&str], state: &str) -> Result<ExitCode, String> {
    let _family = Family::new(methods, state);
    println!("ready");
    Ok(ExitCode::from(3))
}

// A terminal.

/// Waits, alone or with a child of its own.
#[mp::process_fn]
fn wait(method: &str, below: u32, ready: mp::Semaphore, go: mp::Event) -> u32 {
    let child = (below > 0)
        .then(|| by(method).spawn::<wait>((method, below - 1, ready.clone(), go.clone())))
        .map(|child| child.expect("starting a child of a child"));
    ready.release().expect("releasing");
    go.wait().expect("waiting");
    1 + child.map_or(0, |child| child.join().expect("it is not hurt"))
}

/// Has a handler of its own, and waits until it is called.
#[mp::process_fn]
fn handle(ready: mp::Semaphore) -> String {
    on_this_thread(async {
        let mut pressed = signal(SignalKind::interrupt()).expect("handling SIGINT");
        ready.release().expect("releasing");
        pressed.recv().await;
    });
    "handled".to_owned()
}

/// The signals that this process ignores, of which there should be none but SIGINT, and SIGPIPE, as in all Rust programs.
#[mp::process_fn]
fn ignored() -> String {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.expect("it is told").trim().to_owned()
}

/// Prints the value of a child, or what became of it.
fn tell<R: DeserializeOwned + Debug>(who: &str, child: mp::Process<R>) {
    match child.join() {
        Ok(value) => println!("{who}: {value:?}"),
        Err(mp::ProcessError::Signaled { signal, .. }) => println!("{who}: signal {signal}"),
        Err(error) => println!("{who}: {error}"),
    }
}

fn terminal(method: &str, way: &str) -> Result<ExitCode, String> {
    if io::stdin().is_terminal() {
        setsid().expect("it leads no group yet");
        ioctl_tiocsctty(io::stdin()).expect("it has no terminal yet");
    }
    let ready = mp::Semaphore::new(0).expect("making a semaphore");
    let go = mp::Event::new().expect("making an event");
    let waiting = |below, daemon| {
        let builder = by(method).daemon(daemon);
        let child = builder.spawn::<wait>((method, below, ready.clone(), go.clone()));
        child.expect("starting a child")
    };
    let (alone, parent, daemon) = (waiting(0, false), waiting(2, false), waiting(0, true));
    let handles = (way == "children handle").then(|| {
        let child = by(method).spawn::<handle>(ready.clone());
        child.expect("starting a child")
    });
    if way == "ignored" {
        let child = by(method).spawn::<ignored>(()).expect("starting a child");
        tell("ignored by a child", child);
        println!("ignored by the program: {:?}", ignored());
    }
    for _ in 0..5 + u32::from(handles.is_some()) {
        ready.acquire().expect("they begin").forget();
    }
    match way {
        "leave" => {
            println!("ready");
            end("wait")?;
        }
        "ignored" => {
            println!("ready");
            io::stdin().read_line(&mut String::new()).expect("reading");
        }
        "interrupt" => {
            println!("ready");
            for child in [&alone, &daemon] {
                child.interrupt().expect("interrupting");
                child.wait();
            }
        }
        "terminated" => on_this_thread(async {
            let mut terminated = signal(SignalKind::terminate()).expect("handling SIGTERM");
            println!("ready");
            terminated.recv().await;
        }),
        _ => on_this_thread(async {
            let mut pressed = signal(SignalKind::interrupt()).expect("handling SIGINT");
            println!("ready");
            for time in 1..=if way == "handle twice" { 2 } else { 1 } {
                pressed.recv().await;
                println!("pressed {time}");
            }
        }),
    }
    // What hurts the children has time to do so.
    thread::sleep(Duration::from_millis(100));
    go.set();
    tell("alone", alone);
    tell("parent", parent);
    tell("daemon", daemon);
    if let Some(child) = handles {
        tell("handles", child);
    }
    // Nothing has come to harm that later ones need.
    go.clear();
    let later = waiting(1, false);
    ready.acquire().expect("it begins").forget();
    ready.acquire().expect("its child begins").forget();
    go.set();
    tell("later", later);
    Ok(ExitCode::SUCCESS)
}

// Limits.

#[mp::process_fn]
fn wait_for(release: mp::Event) {
    release.wait().expect("waiting");
}

/// How much of each thing this process has.
fn census() -> [i64; 4] {
    let arena = mp::arena_stats().expect("the arena is there");
    [
        descriptors().len() as i64,
        children().len() as i64,
        arena.processes as i64,
        arena.objects as i64,
    ]
}

/// Starts children until the system refuses, again and again; then once more without the limit.
fn limit(resource: &str, method: &str) -> Result<ExitCode, String> {
    let (resource, most) = match resource {
        "nofile" => (Resource::Nofile, 40),
        _ => (Resource::Nproc, 20),
    };
    let release = mp::Event::new().expect("making an event");
    let start = || by(method).spawn::<wait_for>(release.clone());
    release.set();
    // What is made once, at the first use.
    let first = start().and_then(|child| Ok(child.join()?));
    first.map_err(|error| error.to_string())?;
    // The fork server has limits of its own.
    let server = fork_server().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    let set_limit = |limit: Rlimit| {
        for pid in [None, server] {
            prlimit(pid, resource, limit).expect("setting a limit");
        }
    };
    let high = getrlimit(resource);
    let low = Rlimit {
        current: Some(most),
        ..high
    };
    for _ in 0..3 {
        release.clear();
        let before = census();
        let first = start().map_err(|error| error.to_string())?;
        let each: Vec<_> = zip(census(), before)
            .map(|(now, then)| now - then)
            .collect();
        set_limit(low);
        let mut processes = vec![first];
        let error = loop {
            match start() {
                Ok(process) => processes.push(process),
                Err(error) => break error,
            }
            assert!(processes.len() < 100, "the limit is not felt");
        };
        set_limit(high);
        println!("{error}");
        assert!(matches!(error, mp::Error::Start { .. }), "{error:?}");
        assert!(processes.len() > 5, "{} were started", processes.len());
        let number = processes.len() as i64;
        let expected = zip(before, &each).map(|(then, each)| then + number * each);
        assert!(
            expected.eq(census()),
            "{before:?}, {each:?} for each, {:?}",
            census()
        );
        release.set();
        for process in processes {
            process.join().map_err(|error| error.to_string())?;
        }
        assert_eq!(census(), before);
    }
    start()
        .and_then(|child| Ok(child.join()?))
        .map_err(|error| error.to_string())?;
    Ok(ExitCode::SUCCESS)
}

// What works everywhere.

#[mp::process_fn]
fn add(method: &str, below: u32) -> u32 {
    let child = (below > 0).then(|| by(method).spawn::<add>((method, below - 1)));
    1 + child.map_or(0, |child| {
        let child = child.expect("starting a child of a child");
        child.join().expect("it adds")
    })
}

fn values(method: &str) -> mp::Result<ExitCode> {
    println!("child: {}", by(method).spawn::<add>((method, 0))?.join()?);
    println!(
        "grandchild: {}",
        by(method).spawn::<add>((method, 2))?.join()?
    );
    let daemon = by(method).daemon(true).spawn::<add>((method, 0))?;
    println!("daemon: {}", daemon.join()?);
    let go = mp::Event::new()?;
    let kept = by(method).daemon(true).spawn::<wait_for>(go.clone())?;
    let pool = mp::Pool::builder()
        .workers(2)
        .start_method(trees::method(method));
    let squares = pool.build()?.map::<square>(0..100)?;
    println!("pool: {}", squares.iter().sum::<u64>());
    assert!(kept.is_alive(), "nobody has let it go");
    Ok(ExitCode::SUCCESS)
}
