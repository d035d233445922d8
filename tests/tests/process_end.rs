//! What becomes of children when their parent ends, in good order or not.

use std::process::Command;
use std::time::Duration;

use multiproc_tests::leaks::alone;
use multiproc_tests::processes::{Watched, eventually};
use multiproc_tests::program::{Folder, run};
use multiproc_tests::watchdog::LIMIT;
use serde::{Deserialize, Serialize};

/// Makes a script that starts `program` with SIGTERM ignored.
fn stubborn(folder: &Folder, program: &str) -> std::path::PathBuf {
    folder.script(
        "stubborn",
        &format!("#!/bin/sh\ntrap '' TERM\nexec '{program}' \"$@\"\n"),
    )
}

/// Each way of ending `main` terminates the daemons, one of which ignores SIGTERM, and joins another child, which ends
/// when the daemons have ended.
fn daemons_are_terminated_then_others_joined(how: &str, code: i32, said: &str) {
    let folder = Folder::new();
    let script = stubborn(&folder, env!("CARGO_BIN_EXE_ending"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_ending"));
    let ended = run(command.arg(how).arg(script)).nothing_left().code(code);
    assert_eq!(ended.stdout, "the daemons have ended\n");
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
}

#[test]
fn a_return_from_main_ends_the_children() {
    daemons_are_terminated_then_others_joined("return", 3, "");
}

#[test]
fn an_error_of_main_ends_the_children() {
    daemons_are_terminated_then_others_joined("error", 1, "an error");
}

#[test]
fn an_exit_ends_the_children() {
    daemons_are_terminated_then_others_joined("exit", 7, "");
}

#[test]
fn an_exit_on_another_thread_ends_the_children() {
    daemons_are_terminated_then_others_joined("thread", 9, "");
}

#[test]
fn a_panic_in_main_ends_the_children() {
    daemons_are_terminated_then_others_joined("panic", 101, "a panic");
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Role {
    Daemon,
    GrandDaemon,
    Stubborn,
    /// A daemon of a child that is none.
    NephewDaemon,
    Child,
}

/// What the family has in common.
type Family = (mp::Queue<(Role, u32)>, mp::Event, mp::Queue<[bool; 3]>);

#[mp::process_fn]
fn father(family: Family, script: std::path::PathBuf) {
    let builder = mp::Builder::new().daemon(true);
    builder
        .spawn::<daemon>((Role::Daemon, family.clone()))
        .unwrap();
    mp::spawn!(child, family.clone()).unwrap();
    mp::set_executable(script);
    let builder = mp::Builder::new().daemon(true);
    builder
        .spawn::<daemon>((Role::Stubborn, family.clone()))
        .unwrap();
    family.1.wait().unwrap();
}

#[mp::process_fn]
fn daemon(role: Role, family: Family) {
    if role == Role::Daemon {
        let builder = mp::Builder::new().daemon(true);
        builder
            .spawn::<daemon>((Role::GrandDaemon, family.clone()))
            .unwrap();
    }
    family.0.put((role, std::process::id())).unwrap();
    loop {
        std::thread::park();
    }
}

/// Sees the end of its parent, and goes on.
#[mp::process_fn]
fn child(family: Family) {
    let (started, release, seen) = &family;
    let nephew = mp::Builder::new()
        .daemon(true)
        .spawn::<daemon>((Role::NephewDaemon, family.clone()))
        .unwrap();
    let parent = mp::parent_process().unwrap();
    let before = parent.is_alive();
    started.put((Role::Child, std::process::id())).unwrap();
    let ended = parent.wait_timeout(LIMIT);
    seen.put([before, ended, parent.is_alive()]).unwrap();
    release.wait().unwrap();
    assert!(nephew.is_alive());
}

#[mp::test]
fn daemons_die_with_a_parent_that_is_killed_and_others_go_on() {
    let folder = Folder::new();
    let script = stubborn(&folder, "/proc/self/exe");
    // The link would be the shell's.
    let binary = std::env::current_exe().unwrap();
    std::fs::remove_file(script).unwrap();
    let script = stubborn(&folder, binary.to_str().unwrap());
    alone(|| {
        let family: Family = (
            mp::Queue::new().unwrap(),
            mp::Event::new().unwrap(),
            mp::Queue::new().unwrap(),
        );
        let father = mp::spawn!(father, family.clone(), script.clone()).unwrap();
        let processes: Vec<_> = (0..5)
            .map(|_| family.0.get_timeout(LIMIT).unwrap())
            .collect();
        let watched: Vec<_> = processes
            .iter()
            .map(|(role, pid)| (*role, Watched::new(*pid)))
            .collect();
        assert!(watched.iter().all(|(_, process)| !process.has_ended()));
        father.kill().unwrap();
        father.wait();
        assert_eq!(father.exit_code(), Some(-9));

        for (role, process) in &watched {
            if [Role::Daemon, Role::GrandDaemon, Role::Stubborn].contains(role) {
                process.ends();
            }
        }
        assert_eq!(family.2.get_timeout(LIMIT).unwrap(), [true, true, false]);
        for (role, process) in &watched {
            if [Role::Child, Role::NephewDaemon].contains(role) {
                assert!(!process.has_ended(), "{role:?}");
            }
        }
        family.1.set();
        for (_, process) in &watched {
            process.ends();
        }
        father.join().unwrap_err();
        let swept = || (mp::arena_stats().unwrap().processes == 1).then_some(());
        assert!(eventually(swept).is_some());
    });
}

#[mp::process_fn]
fn reopen_then_wait(started: mp::Queue<u32>, release: mp::Event, done: mp::Queue<u64>) {
    // Something that looks at its own descriptors.
    let links: Vec<_> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .flatten()
        .collect();
    for link in links {
        drop(std::fs::File::open(link.path()));
    }
    let mine = mp::Queue::new().unwrap();
    mine.put("mine".repeat(1000)).unwrap();
    started.put(std::process::id()).unwrap();
    release.wait().unwrap();
    done.put(mine.get().unwrap().len() as u64).unwrap();
}

#[mp::process_fn]
fn leave_reopener(started: mp::Queue<u32>, release: mp::Event, done: mp::Queue<u64>) {
    mp::spawn!(reopen_then_wait, started, release.clone(), done).unwrap();
    release.wait().unwrap();
}

#[mp::test]
fn an_orphan_that_reopened_its_descriptors_is_not_taken_for_dead() {
    alone(|| {
        let (started, release, done) = (
            mp::Queue::new().unwrap(),
            mp::Event::new().unwrap(),
            mp::Queue::new().unwrap(),
        );
        let parent = mp::spawn!(
            leave_reopener,
            started.clone(),
            release.clone(),
            done.clone()
        )
        .unwrap();
        let orphan = Watched::new(started.get_timeout(LIMIT).unwrap());
        parent.kill().unwrap();
        parent.join().unwrap_err();
        let processes = mp::arena_stats().unwrap().processes;
        assert!(!orphan.has_ended());
        if processes != 2 {
            orphan.kill();
            panic!("the orphan lives, but its record is freed: {processes} processes");
        }
        release.set();
        let length = done.get_timeout(LIMIT);
        orphan.ends();
        let swept = || (mp::arena_stats().unwrap().processes == 1).then_some(());
        assert!(eventually(swept).is_some());
        assert_eq!(length.ok(), Some(4000), "what only the orphan had");
    });
}

#[mp::process_fn]
fn child_of_two_threads(started: mp::Event) {
    started.set();
    loop {
        std::thread::park();
    }
}

/// `PR_SET_PDEATHSIG` would follow the thread.
#[mp::test]
fn a_daemon_outlives_the_thread_that_started_it() {
    alone(|| {
        let started = mp::Event::new().unwrap();
        let start = || {
            mp::Builder::new()
                .daemon(true)
                .spawn::<child_of_two_threads>(started.clone())
                .unwrap()
        };
        let process = std::thread::scope(|scope| scope.spawn(start).join().unwrap());
        started.wait().unwrap();
        assert_eq!(process.wait_timeout(Duration::from_millis(100)), None);
        process.kill().unwrap();
        process.join().unwrap_err();
    });
}
