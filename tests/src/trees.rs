//! Trees of processes whose life and death are tested, by each start method: see `tree_program`.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::{env, thread};

use mp::{Builder, Event, Pool, StartMethod};

/// The method of this name.
#[track_caller]
pub fn method(name: &str) -> StartMethod {
    let mut all = StartMethod::available().iter();
    *all.find(|method| method.name() == name)
        .unwrap_or_else(|| panic!("there is no `{name}`"))
}

/// A builder for children that are started by the method of this name.
#[track_caller]
pub fn by(name: &str) -> Builder {
    Builder::new().start_method(method(name))
}

/// The number in an environment variable, or what takes a usual run little time.
#[track_caller]
pub fn number(variable: &str, usual: u32) -> u32 {
    env::var(variable).map_or(usual, |number| number.parse().expect("it is a number"))
}

/// Starts children of all kinds as fast as it can, for ever. Whatever it is at when it is killed, all of them end soon: by
/// themselves, or because they are daemons.
#[mp::process_fn(name = "multiproc_tests.storm")]
pub fn storm(name: &str, begun: Event) {
    const DAEMONS: usize = 3;
    let mut daemons = VecDeque::new();
    begun.set();
    for round in 0_u64.. {
        let daemon = match round % 5 {
            0 => {
                // Nobody joins it.
                drop(
                    by(name)
                        .spawn::<take>(vec![0; 10_000])
                        .expect("a short one"),
                );
                continue;
            }
            1 => {
                let (mine, its) = mp::pipe::<u64, u64>().expect("a pipe");
                let child = by(name).spawn::<add_one>(its).expect("one with a pipe");
                mine.send(round).expect("sending");
                assert_eq!(mine.recv().expect("receiving"), round + 1);
                child.join().expect("joining");
                continue;
            }
            2 => {
                let builder = by(name).stdout(mp::Stdio::piped());
                let child = builder.spawn::<print>("a line").expect("one that prints");
                let stdout = child.take_stdout().expect("it is piped");
                assert_eq!(io::read_to_string(stdout).expect("reading"), "a line\n");
                child.join().expect("joining");
                continue;
            }
            3 => by(name).daemon(true).spawn::<park>(()),
            _ => by(name).daemon(true).spawn::<park_with_daemon>(()),
        };
        daemons.push_back(daemon.expect("a daemon"));
        if daemons.len() > DAEMONS {
            let oldest = daemons.pop_front().expect("there are some");
            oldest.kill().expect("killing");
            oldest.join().expect_err("it is killed");
        }
        if round % 10 == 9 {
            let pool = Pool::builder().workers(2).start_method(method(name));
            let pool = pool.build().expect("a pool");
            pool.map::<count>(0..5).expect("it works");
        }
    }
}

#[mp::process_fn(name = "multiproc_tests.storm.take")]
fn take(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

#[mp::process_fn(name = "multiproc_tests.storm.add_one")]
fn add_one(connection: mp::Connection<u64, u64>) {
    // A parent that is killed sends nothing any more.
    if let Ok(number) = connection.recv() {
        let _ = connection.send(number + 1);
    }
}

#[mp::process_fn(name = "multiproc_tests.storm.print")]
fn print(line: &str) {
    // Or nobody reads it.
    let _ = writeln!(io::stdout(), "{line}");
}

#[mp::process_fn(name = "multiproc_tests.storm.park")]
fn park() {
    loop {
        thread::park();
    }
}

/// By `Spawn`, since a daemon has two threads.
#[mp::process_fn(name = "multiproc_tests.storm.park_with_daemon")]
fn park_with_daemon() {
    let daemon = Builder::new().daemon(true).spawn::<park>(());
    daemon.expect("a daemon of a daemon").wait();
}

#[mp::process_fn(name = "multiproc_tests.storm.count")]
fn count(n: u32) -> u32 {
    n
}
