//! A program with a pool, which ends in one of several ways.
//!
//! `pool_program (idle | sleeping | spinning | programs | mapping | iterating | static | printing | flooding) (return | exit | panic | abort |
//! kill | wait | handle) [METHOD]`. With a terminal as its standard input it makes that its own.

use std::io::IsTerminal;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;
use std::{env, io, process, thread};

use multiproc_tests::trees;
use rustix::process::{Signal, getpid, ioctl_tiocsctty, kill_process, setsid};

const WORKERS: usize = 3;

static POOL: OnceLock<mp::Pool> = OnceLock::new();

/// Does what the state says until it is killed, or told to stop.
#[mp::process_fn]
fn act(state: String, started: mp::Semaphore, stop: mp::Event) -> u32 {
    started.release().expect("releasing");
    match &*state {
        "spinning" => {
            while !stop.is_set() {
                std::hint::spin_loop();
            }
        }
        "flooding" => loop {
            eprintln!("a line of a flood");
        },
        "programs" => {
            let script = "sleep 1000 & sh -c 'sleep 1001; :' & sleep 1002";
            let status = Command::new("sh").args(["-c", script]).status();
            status.expect("running a shell");
        }
        _ => stop.wait().expect("waiting"),
    }
    1
}

/// Prints whole lines to the standard error.
#[mp::process_fn]
fn print(number: u32) {
    for line in 0..20 {
        eprintln!("task {number} line {line}");
    }
}

/// Runs more tasks than the workers can begin before they are told to stop.
fn call(pool: &mp::Pool, state: &str, started: &mp::Semaphore, stop: &mp::Event) -> u32 {
    let items = (0..2 * WORKERS).map(|_| (state.to_owned(), started.clone(), stop.clone()));
    let job = pool.job::<act>().chunk_size(1);
    match state {
        "iterating" => job.imap(items).map(|n| n.expect("it is not hurt")).sum(),
        _ => job.map(items).expect("it is not hurt").into_iter().sum(),
    }
}

#[mp::main]
fn main() -> mp::Result<()> {
    let mut words = env::args().skip(1);
    let (state, way) = (words.next().expect("a state"), words.next().expect("a way"));
    if io::stdin().is_terminal() {
        setsid().expect("it leads no group yet");
        ioctl_tiocsctty(io::stdin()).expect("it has no terminal yet");
    }
    let (started, stop) = (mp::Semaphore::new(0)?, mp::Event::new()?);
    let mut builder = mp::Pool::builder().workers(WORKERS);
    if let Some(method) = words.next() {
        builder = builder.start_method(trees::method(&method));
    }
    let pool = builder.build()?;
    let local;
    let pool = if state == "static" {
        POOL.get_or_init(|| pool)
    } else {
        local = pool;
        &local
    };
    match &*state {
        "idle" => drop(pool.map::<print>(std::iter::empty())?),
        "printing" => drop(pool.map::<print>(0..10)?),
        _ => {}
    }
    let busy = !["idle", "printing"].contains(&&*state);
    thread::scope(|scope| {
        // The thread of `main` is the one that waits in a map.
        let in_call = ["mapping", "iterating"].contains(&&*state);
        let (started, stop, way) = (&started, &stop, &way);
        if busy && !in_call {
            for _ in 0..WORKERS {
                // It runs on by itself.
                drop(pool.submit::<act>((state.clone(), started.clone(), stop.clone()))?);
            }
        }
        let end = move || {
            for _ in 0..WORKERS * usize::from(busy) {
                started.acquire().expect("they begin").forget();
            }
            println!("ready");
            end(way, stop);
        };
        if in_call {
            scope.spawn(end);
            let sum = call(pool, &state, started, stop);
            println!("{sum} are done");
        } else {
            end();
        }
        Ok(())
    })
}

fn end(way: &str, stop: &mp::Event) {
    match way {
        "return" => {}
        "exit" => process::exit(7),
        "panic" => panic!("on purpose"),
        "abort" => process::abort(),
        "kill" => kill_process(getpid(), Signal::KILL).expect("a process may kill itself"),
        "wait" => loop {
            thread::park();
        },
        "handle" => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("making a runtime").block_on(async {
                let pressed = tokio::signal::ctrl_c();
                println!("waiting");
                pressed.await.expect("handling SIGINT");
            });
            println!("pressed");
            // What hurts the workers has time to do so.
            thread::sleep(Duration::from_millis(100));
            stop.set();
        }
        way => panic!("what is {way}?"),
    }
}
