//! The end of the program that has the pool, in each way, whatever its workers are at; and what reaches its terminal.

mod common_harm;
mod common_shm;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use common_harm::{event, signal_child, works};
use mp::{Pool, TaskError};
use multiproc_tests::leaks::alone;
use multiproc_tests::processes::{Watched, eventually};
use multiproc_tests::program::{Ended, Running, run};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

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

/// SIGINT may be ignored already, and then is so in all that is started: by `nohup`, or in the background of a shell script.
fn ignores_sigint() -> bool {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = line.map(|mask| u64::from_str_radix(mask.trim(), 16).expect("a mask"));
    let bit = 1 << (Signal::INT.as_raw() - 1);
    mask.expect("it is told") & bit != 0
}

fn program(state: &str, way: &str) -> Command {
    let program = env!("CARGO_BIN_EXE_pool_program");
    let mut command = if ignores_sigint() {
        let mut command = Command::new("env");
        command.args(["--default-signal=INT", program]);
        command
    } else {
        Command::new(program)
    };
    command.args([state, way]);
    command
}

#[track_caller]
fn check_signal(ended: &Ended, signal: Signal) {
    assert_eq!(ended.status.signal(), Some(signal.as_raw()), "{ended:#?}");
    assert_eq!(ended.stdout, "ready\n");
}

#[test]
fn nothing_stays_of_a_program_that_is_killed() {
    for state in STATES {
        let ended = run(&mut program(state, "kill")).nothing_stays();
        check_signal(&ended, Signal::KILL);
    }
}

#[test]
fn nothing_stays_of_a_program_that_aborts() {
    for state in STATES {
        let ended = run(&mut program(state, "abort")).nothing_stays();
        check_signal(&ended, Signal::ABORT);
    }
}

#[test]
fn nothing_outlives_a_program_that_exits() {
    for state in STATES {
        let ended = run(&mut program(state, "exit")).nothing_stays().code(7);
        if state != "programs" {
            ended.nothing_left();
        }
    }
}

#[test]
fn nothing_outlives_a_program_that_returns() {
    for state in ["idle", "sleeping", "spinning", "programs", "static"] {
        let ended = run(&mut program(state, "return")).nothing_stays().code(0);
        assert_eq!((&*ended.stdout, &*ended.stderr), ("ready\n", ""));
        if state != "programs" {
            ended.nothing_left();
        }
    }
}

#[test]
fn nothing_outlives_a_program_that_panics() {
    for state in ["idle", "sleeping", "spinning", "programs", "static"] {
        let ended = run(&mut program(state, "panic")).nothing_stays().code(101);
        if state != "programs" {
            ended.nothing_left();
        }
    }
}

#[test]
fn nothing_stays_of_a_program_that_is_terminated() {
    for state in STATES {
        let running = Running::start(&mut program(state, "wait"));
        running.said("ready\n");
        running.child.send(Signal::TERM);
        let ended = running.end().nothing_stays();
        check_signal(&ended, Signal::TERM);
        assert_eq!(ended.stderr, "");
    }
}

trait Send {
    fn send(&self, signal: Signal);
    fn send_to_group(&self, signal: Signal);
}

impl Send for std::process::Child {
    fn send(&self, signal: Signal) {
        let id = Pid::from_raw(self.id().cast_signed()).expect("it is a process");
        kill_process(id, signal).expect("it is there");
    }

    fn send_to_group(&self, signal: Signal) {
        let id = Pid::from_raw(self.id().cast_signed()).expect("it is a process");
        kill_process_group(id, signal).expect("it is there");
    }
}

/// It ended as by SIGINT, and said so in a line at most.
#[track_caller]
fn check_interrupted(ended: Ended) {
    let ended = ended.nothing_stays();
    check_signal(&ended, Signal::INT);
    assert!(ended.stderr.lines().count() <= 1, "{ended:#?}");
}

#[test]
fn ctrl_c_ends_a_program_with_all_that_it_has_started() {
    for state in STATES {
        let running = Running::start(&mut program(state, "wait"));
        running.said("ready\n");
        running.child.send_to_group(Signal::INT);
        check_interrupted(running.end());
    }
}

#[test]
fn ctrl_c_twice_does_so_too() {
    for state in STATES {
        let running = Running::start(&mut program(state, "wait"));
        running.said("ready\n");
        running.child.send_to_group(Signal::INT);
        running.child.send_to_group(Signal::INT);
        check_interrupted(running.end());
    }
}

#[test]
fn sigint_to_all_processes_of_a_program_does_so_too() {
    for state in STATES {
        let running = Running::start(&mut program(state, "wait"));
        running.said("ready\n");
        for entry in running.processes() {
            let id = Pid::from_raw(entry.pid.cast_signed()).expect("it is a process");
            let _ = kill_process(id, Signal::INT);
        }
        check_interrupted(running.end());
    }
}

#[test]
fn the_key_at_a_terminal_does_so_too() {
    for state in STATES {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("making a terminal");
        grantpt(&terminal).expect("granting");
        unlockpt(&terminal).expect("unlocking");
        let name = ptsname(&terminal, Vec::new()).expect("it has a name");
        let name = name.into_string().expect("it is a path");
        let stdin = File::options()
            .read(true)
            .write(true)
            .open(name)
            .expect("opening");
        let mut keys = File::from(terminal);
        let running = Running::start_reading(&mut program(state, "wait"), stdin);
        running.said("ready\n");
        keys.write_all(b"\x03").expect("typing");
        check_interrupted(running.end());
    }
}

#[test]
fn a_program_that_handles_ctrl_c_decides_and_its_workers_go_on() {
    for state in ["sleeping", "spinning", "mapping", "iterating"] {
        let running = Running::start(&mut program(state, "handle"));
        running.said("waiting\n");
        for entry in running.processes() {
            let id = Pid::from_raw(entry.pid.cast_signed()).expect("it is a process");
            kill_process(id, Signal::INT).expect("nobody dies of it");
        }
        let ended = running.end().nothing_left().code(0);
        assert_eq!(ended.stderr, "");
        assert!(
            ended.stdout.starts_with("ready\nwaiting\npressed\n"),
            "{}",
            ended.stdout
        );
        let in_call = ["mapping", "iterating"].contains(&state);
        assert_eq!(
            ended.stdout.contains("6 are done\n"),
            in_call,
            "{}",
            ended.stdout
        );
    }
}

// SIGINT to workers.

#[mp::process_fn]
fn wait_for(go: mp::Event, started: mp::Semaphore) -> u32 {
    started.release().expect("releasing");
    go.wait().expect("waiting");
    std::process::id()
}

#[mp::test]
fn workers_do_not_die_of_sigint() {
    alone(|| {
        let pool = Pool::new(2).expect("making a pool");
        let (go, started) = (event(), mp::Semaphore::new(0).expect("making a semaphore"));
        let task = pool.map_async::<wait_for>([(); 2].map(|()| (go.clone(), started.clone())));
        let task = task.expect("submitting");
        for _ in 0..2 {
            started.acquire().expect("they begin").forget();
        }
        for worker in pool.stats().workers {
            assert!(signal_child(worker.pid, Signal::INT));
        }
        go.set();
        assert_eq!(task.get().expect("they go on").len(), 2);
        for worker in pool.stats().workers {
            assert!(signal_child(worker.pid, Signal::INT));
        }
        works(&pool);
        assert_eq!(pool.stats().died, 0);
    });
}

/// Runs a program that dies of SIGINT unless it is ignored.
#[mp::process_fn]
fn interrupted_program() -> (Option<i32>, Option<i32>) {
    let status = Command::new("sh")
        .args(["-c", "kill -INT $$; exit 3"])
        .status();
    let status = status.expect("running a shell");
    (status.signal(), status.code())
}

#[mp::test]
fn programs_that_workers_execute_die_of_sigint() {
    alone(|| {
        let pool = Pool::new(1).expect("making a pool");
        let end = pool.apply::<interrupted_program>(()).expect("it ends");
        // What is ignored stays so: the program goes on then.
        let expected = match ignores_sigint() {
            true => (None, Some(3)),
            false => (Some(2), None),
        };
        assert_eq!(end, expected);
    });
}

// The standard error of workers.

#[test]
fn what_workers_print_reaches_the_programs_stderr_in_whole_lines() {
    let ended = run(&mut program("printing", "return"))
        .nothing_left()
        .code(0);
    let mut seen: Vec<_> = ended.stderr.lines().collect();
    for task in 0..10 {
        let start = format!("task {task} line ");
        let lines: Vec<_> = seen
            .iter()
            .filter(|line| line.starts_with(&start))
            .collect();
        let expected = (0..20).map(|line| format!("{start}{line}"));
        assert!(lines.into_iter().copied().eq(expected), "{}", ended.stderr);
        seen.retain(|line| !line.starts_with(&start));
    }
    assert_eq!(seen, [] as [&str; 0]);
}

#[test]
fn a_program_whose_stderr_nobody_reads_ends() {
    let mut command = program("flooding", "return");
    let stdio = command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = stdio.stderr(Stdio::piped()).spawn().expect("starting");
    let watched = Watched::new(child.id());
    let ended = eventually(|| watched.has_ended().then_some(()));
    child.kill().expect("killing");
    let status = child.wait().expect("waiting");
    assert!(ended.is_some() && status.success(), "{status}");
}

#[mp::process_fn]
fn print_and_die(lines: u32, last: Vec<u8>) {
    use std::io::stderr;
    for line in 0..lines {
        eprintln!("line {line}");
    }
    stderr().write_all(&last).expect("printing");
    std::process::abort();
}

#[mp::test]
fn the_last_lines_of_a_dead_worker_are_in_the_error() {
    alone(|| {
        let pool = Pool::new(1).expect("making a pool");
        let long = "x".repeat(100_000);
        for (lines, last, expected) in [
            (0, "", ""),
            (3, "", "line 0\nline 1\nline 2"),
            (1, "no end of line", "line 0\nno end of line"),
            (20_000, "", "line 19998\nline 19999"),
            (5, &*long, "xxx"),
            (5, &*format!("{long}\n"), "xxx"),
        ] {
            let error = pool
                .apply::<print_and_die>((lines, last.into()))
                .expect_err("it aborts");
            let TaskError::WorkerDied { stderr, .. } = &error else {
                panic!("{error:?}");
            };
            assert!(stderr.len() <= 4096, "{} bytes", stderr.len());
            assert!(stderr.trim_end().ends_with(expected), "{stderr:?}");
            let said = error.to_string();
            assert!(
                said.contains(expected.lines().last().unwrap_or("")),
                "{said}"
            );
        }
        // What is no text does no harm.
        let bytes = [b"\xff\xfe end".as_slice(), &[0x80; 5000], "ü".as_bytes()].concat();
        for cut in 0..4 {
            let bytes = bytes[cut..].to_vec();
            let error = pool
                .apply::<print_and_die>((1, bytes))
                .expect_err("it aborts");
            let TaskError::WorkerDied { stderr, .. } = &error else {
                panic!("{error:?}");
            };
            assert!(
                stderr.trim_end().ends_with('ü') && stderr.len() <= 4096,
                "{stderr:?}"
            );
        }
        // Nothing of a former worker is in it.
        let error = pool
            .apply::<print_and_die>((0, vec![]))
            .expect_err("it aborts");
        assert!(
            matches!(&error, TaskError::WorkerDied { stderr, .. } if stderr.is_empty()),
            "{error:?}"
        );
        works(&pool);
    });
}

// A pool in a child.

#[mp::process_fn]
fn have_a_pool(go: mp::Event, started: mp::Semaphore, pids: mp::Queue<u32>) {
    let pool = Pool::new(2).expect("making a pool");
    for worker in pool.stats().workers {
        pids.put(worker.pid).expect("putting");
    }
    let items = [(); 2].map(|()| (go.clone(), started.clone()));
    let _ = pool.map::<wait_for>(items);
}

#[mp::test]
fn workers_of_a_child_that_is_killed_end_and_leave_nothing() {
    alone(|| {
        let before = mp::arena_stats().expect("the arena is there");
        for busy in [false, true] {
            let (go, started) = (event(), mp::Semaphore::new(0).expect("making a semaphore"));
            let pids = mp::Queue::new().expect("making a queue");
            let child = mp::spawn!(have_a_pool, go.clone(), started.clone(), pids.clone());
            let child = child.expect("spawning");
            let workers: Vec<_> = (0..2)
                .map(|_| Watched::new(pids.get().expect("getting")))
                .collect();
            for _ in 0..2 * usize::from(busy) {
                started.acquire().expect("they begin").forget();
            }
            child.kill().expect("killing");
            child.join().expect_err("it is killed");
            workers.iter().for_each(Watched::ends);
        }
        let swept = || (mp::arena_stats().expect("the arena is there") == before).then_some(());
        assert!(eventually(swept).is_some(), "{:?}", mp::arena_stats());
    });
}
