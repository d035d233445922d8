//! The end of a program that has a pool of copies, in each way, whatever its workers are at. `pool_parent` has the same for
//! workers that are started anew.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use mp::StartMethod;
use multiproc_tests::methods;
use multiproc_tests::program::{Ended, Running, run};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

methods! {
    ;
    once:
    nothing_stays_of_a_program_that_is_killed,
    nothing_stays_of_a_program_that_is_terminated,
    nothing_outlives_a_program_that_exits,
    nothing_outlives_a_program_that_returns,
    ctrl_c_ends_a_program_with_all_that_it_has_started,
    workers_go_on_when_their_program_handles_sigint,
}

const METHODS: [StartMethod; 2] = [StartMethod::Fork, StartMethod::Forkserver];

/// What the workers are at.
const STATES: [&str; 7] = [
    "idle",
    "sleeping",
    "spinning",
    "programs",
    "mapping",
    "iterating",
    "static",
];

/// Each state by each method.
fn cases() -> impl Iterator<Item = (&'static str, StartMethod)> {
    let states = STATES.into_iter();
    states.flat_map(|state| METHODS.map(|method| (state, method)))
}

/// A program that dies of SIGINT, whoever runs this one.
fn program(state: &str, way: &str, method: StartMethod) -> Command {
    let mut command = Command::new("env");
    command
        .args(["--default-signal=INT", env!("CARGO_BIN_EXE_pool_program")])
        .args([state, way, method.name()]);
    command
}

fn id(running: &Running) -> Pid {
    Pid::from_raw(running.child.id().cast_signed()).expect("it is a process")
}

#[track_caller]
fn check_signal(ended: Ended, signal: Signal) {
    let ended = ended.nothing_stays();
    assert_eq!(ended.status.signal(), Some(signal.as_raw()), "{ended:#?}");
    assert_eq!((&*ended.stdout, &*ended.stderr), ("ready\n", ""));
}

fn nothing_stays_of_a_program_that_is_killed() {
    for (state, method) in cases() {
        check_signal(run(&mut program(state, "kill", method)), Signal::KILL);
    }
}

fn nothing_stays_of_a_program_that_is_terminated() {
    for (state, method) in cases() {
        let running = Running::start(&mut program(state, "wait", method));
        running.said("ready\n");
        kill_process(id(&running), Signal::TERM).expect("it is there");
        check_signal(running.end(), Signal::TERM);
    }
}

/// What a program has started that a worker executes may end a moment later.
#[track_caller]
fn check_end(state: &str, ended: Ended, code: i32) {
    let ended = ended.nothing_stays().code(code);
    if state != "programs" {
        ended.nothing_left();
    }
}

fn nothing_outlives_a_program_that_exits() {
    for (state, method) in cases() {
        check_end(state, run(&mut program(state, "exit", method)), 7);
    }
}

fn nothing_outlives_a_program_that_returns() {
    for state in ["idle", "spinning", "programs", "static"] {
        for method in METHODS {
            let ended = run(&mut program(state, "return", method));
            assert_eq!((&*ended.stdout, &*ended.stderr), ("ready\n", ""));
            check_end(state, ended, 0);
        }
    }
}

fn ctrl_c_ends_a_program_with_all_that_it_has_started() {
    for (state, method) in cases() {
        let running = Running::start(&mut program(state, "wait", method));
        running.said("ready\n");
        kill_process_group(id(&running), Signal::INT).expect("it leads a group");
        check_signal(running.end(), Signal::INT);
    }
}

fn workers_go_on_when_their_program_handles_sigint() {
    for state in ["sleeping", "spinning", "mapping", "iterating"] {
        for method in METHODS {
            let running = Running::start(&mut program(state, "handle", method));
            running.said("waiting\n");
            let all = running.processes();
            let workers = all
                .iter()
                .filter(|entry| entry.name.starts_with("PoolWorker"));
            let mut hit: Vec<_> = workers.map(|entry| entry.pid).collect();
            assert_eq!(hit.len(), 3, "{all:?}");
            hit.push(running.child.id());
            for pid in hit {
                let id = Pid::from_raw(pid.cast_signed()).expect("it is a process");
                kill_process(id, Signal::INT).expect("nobody dies of it");
            }
            let ended = running.end().nothing_left().code(0);
            assert_eq!(ended.stderr, "");
            assert!(
                ended.stdout.starts_with("ready\nwaiting\npressed\n"),
                "{ended:#?}"
            );
        }
    }
}
