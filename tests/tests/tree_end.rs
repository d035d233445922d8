//! A tree of processes whose first one ends, in each way, by each start method: daemons in three generations and a pool's
//! workers end with it, whatever they are at; a child that is no daemon goes on until its function ends.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use mp::StartMethod;
use multiproc_tests::methods;
use multiproc_tests::methods::available;
use multiproc_tests::pools::soon;
use multiproc_tests::processes::entry;
use multiproc_tests::program::{Ended, Running, run};
use rustix::process::{Pid, Signal, kill_process};

methods! {
    nothing_stays_of_a_program_that_kills_itself,
    nothing_stays_of_a_program_that_terminates_itself,
    nothing_stays_of_a_program_that_aborts,
    nothing_stays_after_a_return_from_main,
    nothing_stays_after_an_error_of_main,
    nothing_stays_after_a_panic_in_main,
    nothing_stays_after_an_exit,
    nothing_stays_after_an_exit_on_another_thread,
    nothing_stays_after_a_return_from_a_runtime,
    daemons_die_with_each_of_their_ancestors,
}

/// What daemons and workers are at. The stubborn ones take SIGTERM, and go on.
const STATES: [&str; 3] = ["idle", "busy", "stubborn"];

/// The methods by which a daemon, its daemon and that one's are started, the first by `method`. A daemon has two threads, so
/// that it cannot be copied.
fn generations(method: StartMethod) -> Vec<String> {
    let mut others = available();
    others.retain(|other| *other != StartMethod::Fork);
    let pairs = others.iter().flat_map(|second| {
        let third = others.iter();
        third.map(move |third| format!("{method},{second},{third}"))
    });
    pairs.collect()
}

fn program(methods: &str, state: &str, way: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tree_program"));
    command.args(["family", methods, state, way]);
    command
}

/// The child that is no daemon has seen the end of a daemon, and then has ended in its own time.
#[track_caller]
fn check_child(ended: &Ended) {
    assert_eq!(ended.stdout, "ready\nthe child ends\n", "{ended:#?}");
}

/// What to try: each way of starting with each state, but one with stubborn daemons, which take their time.
fn cases(method: StartMethod) -> impl Iterator<Item = (String, &'static str)> {
    let tried = generations(method).into_iter().enumerate();
    tried.flat_map(|(number, methods)| {
        let states = if number == 0 {
            &STATES[..]
        } else {
            &STATES[..2]
        };
        states.iter().map(move |state| (methods.clone(), *state))
    })
}

#[track_caller]
fn ends_by(method: StartMethod, way: &str, signal: Signal) {
    for (methods, state) in cases(method) {
        let ended = run(&mut program(&methods, state, way)).nothing_stays();
        assert_eq!(ended.status.signal(), Some(signal.as_raw()), "{ended:#?}");
        check_child(&ended);
        assert_eq!(ended.stderr, "");
    }
}

fn nothing_stays_of_a_program_that_kills_itself(method: StartMethod) {
    ends_by(method, "kill", Signal::KILL);
}

fn nothing_stays_of_a_program_that_terminates_itself(method: StartMethod) {
    ends_by(method, "terminate", Signal::TERM);
}

fn nothing_stays_of_a_program_that_aborts(method: StartMethod) {
    ends_by(method, "abort", Signal::ABORT);
}

/// The children have ended when the program has.
#[track_caller]
fn ends_with(method: StartMethod, way: &str, code: i32, said: &str) {
    for (methods, state) in cases(method) {
        let ended = run(&mut program(&methods, state, way)).nothing_stays();
        let ended = ended.code(code);
        // The first daemon was ended by a signal, which those below it follow, and its fork server.
        let followed =
            |name: &String| name.starts_with("Process-1:1") || name.starts_with("forkserver");
        assert!(ended.outlived_by.iter().all(followed), "{ended:#?}");
        check_child(&ended);
        let told = match said {
            "" => ended.stderr.is_empty(),
            _ => ended.stderr.contains(said),
        };
        assert!(told, "{ended:#?}");
    }
}

fn nothing_stays_after_a_return_from_main(method: StartMethod) {
    ends_with(method, "return", 3, "");
}

fn nothing_stays_after_an_error_of_main(method: StartMethod) {
    ends_with(method, "error", 1, "an error");
}

fn nothing_stays_after_a_panic_in_main(method: StartMethod) {
    ends_with(method, "panic", 101, "a panic");
}

fn nothing_stays_after_an_exit(method: StartMethod) {
    ends_with(method, "exit", 7, "");
}

fn nothing_stays_after_an_exit_on_another_thread(method: StartMethod) {
    ends_with(method, "exit-on-thread", 9, "");
}

fn nothing_stays_after_a_return_from_a_runtime(method: StartMethod) {
    if method == StartMethod::Fork {
        // A copy is inside of its parent's runtime, where it cannot have one of its own.
        let ended = run(&mut program("fork,spawn,spawn", "busy", "tokio")).nothing_stays();
        check_child(&ended.code(3));
    } else {
        ends_with(method, "tokio", 3, "");
        ends_with(method, "tokio-threads", 3, "");
    }
}

/// The processes have the names that `ps` shows: the daemons are the first child of each generation.
fn daemons_die_with_each_of_their_ancestors(method: StartMethod) {
    for methods in generations(method) {
        let running = Running::start(&mut program(&methods, "idle", "wait"));
        running.said("ready\n");
        let all = running.processes();
        let find = |name: &str| {
            let found = all.iter().find(|entry| entry.name == name);
            found.unwrap_or_else(|| panic!("no {name} in {all:?}")).pid
        };
        let kill = |pid: u32| {
            let id = Pid::from_raw(pid.cast_signed()).expect("it is a process");
            kill_process(id, Signal::KILL).expect("it is there");
        };
        let has_ended = |name: &str| entry(find(name)).is_none_or(|entry| entry.zombie);
        kill(find("Process-1:1"));
        soon("the third daemon ends", || has_ended("Process-1:1:1"));
        assert!(!has_ended("Process-1"), "nobody has killed it");
        kill(find("Process-2"));
        soon("the nephew ends", || has_ended("Process-2:1"));
        assert!(!has_ended("Process-1"), "nobody has killed it");
        kill(running.child.id());
        let ended = running.end().nothing_stays();
        assert_eq!((&*ended.stdout, &*ended.stderr), ("ready\n", ""));
    }
}
