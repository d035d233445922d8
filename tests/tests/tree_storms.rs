//! Many starts by each method: one after another, at once, and more than the system allows.
//!
//! `MP_STARTS` sets how many processes are started in a sequence, `MP_CROWD` how many are there at once.

use std::collections::BTreeSet;
use std::process::Command;

use mp::StartMethod;
use multiproc_tests::leaks::nothing;
use multiproc_tests::methods;
use multiproc_tests::methods::{by, start};
use multiproc_tests::processes::{children, descriptors};
use multiproc_tests::program::{Folder, run};
use multiproc_tests::trees::number;
use rustix::process::geteuid;

methods! {
    many_starts_in_a_sequence,
    many_at_once,
    many_that_nobody_joins,
    descriptors_run_out,
    processes_run_out,
}

#[mp::process_fn]
fn add_one(number: u32) -> u32 {
    number + 1
}

fn many_starts_in_a_sequence(method: StartMethod) {
    let census = || {
        (
            mp::arena_stats().expect("it is there"),
            descriptors(),
            children(),
        )
    };
    let before = census();
    for round in 0..number("MP_STARTS", 300) {
        let builder = by(method).daemon(round % 2 == 1);
        let child = builder.spawn::<add_one>(round).expect("starting");
        assert_eq!(child.join().expect("joining"), round + 1);
        if round % 100 == 99 {
            assert_eq!(census(), before, "after {round}");
        }
    }
    assert_eq!(census(), before);
}

#[mp::process_fn]
fn arrive(number: u32, arrived: mp::Queue<u32>, release: mp::Event) -> u32 {
    arrived.put(number).expect("putting");
    release.wait().expect("waiting");
    number
}

fn many_at_once(method: StartMethod) {
    let most = number("MP_CROWD", 100);
    let arrived = mp::Queue::new().expect("making a queue");
    let release = mp::Event::new().expect("making an event");
    let before = mp::arena_stats().expect("it is there").processes;
    let start = |number| {
        let args = (number, arrived.clone(), release.clone());
        by(method).spawn::<arrive>(args).expect("starting")
    };
    let processes: Vec<_> = (0..most).map(start).collect();
    let numbers: BTreeSet<_> = processes
        .iter()
        .map(|_| arrived.get().expect("it arrives"))
        .collect();
    assert!(numbers.into_iter().eq(0..most));
    assert_eq!(mp::active_children().len(), processes.len());
    let stats = mp::arena_stats().expect("it is there");
    assert_eq!(stats.processes, before + u64::from(most));
    release.set();
    for (number, process) in (0..).zip(processes) {
        assert_eq!(process.join().expect("joining"), number);
    }
    assert!(mp::active_children().is_empty());
}

fn many_that_nobody_joins(method: StartMethod) {
    let before = (descriptors(), children());
    for number in 0..number("MP_CROWD", 100) {
        drop(by(method).spawn::<add_one>(number).expect("starting"));
    }
    for child in mp::active_children() {
        child.wait();
    }
    // It reaps those.
    start::<nothing>(method, ()).join().expect("joining");
    assert_eq!((descriptors(), children()), before);
}

#[track_caller]
fn runs_out(command: &mut Command, said: &[&str]) {
    let output = run(command).nothing_left().success();
    assert_eq!(output.lines().count(), 3, "{output}");
    for line in output.lines() {
        assert!(
            line.contains("cannot start a process for `tree_program::wait_for`")
                && said.iter().any(|words| line.contains(words)),
            "{output}"
        );
    }
}

fn descriptors_run_out(method: StartMethod) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tree_program"));
    runs_out(
        command.args(["limit", "nofile", method.name()]),
        // The process, or its fork server.
        &["Too many open files", "no more of them open (ulimit -n)"],
    );
}

/// By a user of its own, whose processes nobody else has.
fn processes_run_out(method: StartMethod) {
    if !geteuid().is_root() {
        eprintln!("skipped: only root may become another user");
        return;
    }
    let folder = Folder::new();
    // The user may not enter where the program is.
    let program = folder.copy(env!("CARGO_BIN_EXE_tree_program"), "program");
    let user = 1_000_000 + std::process::id();
    let mut command = Command::new("setpriv");
    command
        .args([format!("--reuid={user}"), format!("--regid={user}")])
        .arg("--clear-groups")
        .arg(program)
        .args(["limit", "nproc", method.name()]);
    runs_out(&mut command, &["Resource temporarily unavailable"]);
}
