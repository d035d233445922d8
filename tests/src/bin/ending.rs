//! A program that ends in one of several ways, and leaves children behind.
//!
//! `ending (return | error | exit | panic | thread) SCRIPT`, where the script starts this program with SIGTERM ignored.

use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, process, thread};

use multiproc_tests::processes::Watched;

#[mp::process_fn]
fn sleep(ready: mp::Event) {
    ready.set();
    loop {
        thread::park();
    }
}

/// Ends when the daemons have ended, so that joining it first would last forever.
#[mp::process_fn]
fn outlive(daemons: Vec<u32>, ready: mp::Event) {
    let daemons: Vec<_> = daemons.into_iter().map(Watched::new).collect();
    ready.set();
    for daemon in daemons {
        daemon.ends();
    }
    println!("the daemons have ended");
}

fn leave_children(script: PathBuf) -> mp::Result<()> {
    let ready = [mp::Event::new()?, mp::Event::new()?, mp::Event::new()?];
    let daemon = || mp::Builder::new().daemon(true);
    let obedient = daemon().spawn::<sleep>(ready[0].clone())?;
    mp::set_executable(script);
    let stubborn = daemon().spawn::<sleep>(ready[1].clone())?;
    mp::set_executable("/proc/self/exe");
    mp::spawn!(
        outlive,
        vec![obedient.id(), stubborn.id()],
        ready[2].clone()
    )?;
    ready.iter().try_for_each(mp::Event::wait)?;
    Ok(())
}

#[mp::main]
fn main() -> Result<ExitCode, String> {
    let mut words = env::args_os().skip(1);
    let (how, script) = (
        words.next().expect("how"),
        words.next().expect("the script"),
    );
    leave_children(script.into()).map_err(|error| error.to_string())?;
    match how.to_str() {
        Some("return") => Ok(ExitCode::from(3)),
        Some("error") => Err("an error".to_owned()),
        Some("exit") => process::exit(7),
        Some("panic") => panic!("a panic"),
        Some("thread") => thread::spawn(|| process::exit(9))
            .join()
            .map_err(|_| "unreachable".to_owned()),
        _ => Err(format!("what is {how:?}?")),
    }
}
