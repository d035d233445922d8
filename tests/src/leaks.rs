//! Experiments that leave nothing behind.

use std::any::type_name;
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use futures::executor::block_on;

use crate::processes::{Entry, children, descriptors, eventually};
use crate::program;
use crate::watchdog::Watchdog;

/// Does nothing, in a child.
#[mp::process_fn(name = "multiproc_tests.nothing")]
pub fn nothing() {}

/// Set in the process that [`alone`] starts.
const ALONE: &str = "MULTIPROC_TESTS_ALONE";

/// What a process has that it could leave behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Census {
    pub children: Vec<Entry>,
    pub descriptors: Vec<String>,
    pub arena: mp::ArenaStats,
}

impl Census {
    pub fn take() -> Self {
        Self {
            arena: mp::arena_stats().expect("the arena is there"),
            children: children(),
            descriptors: descriptors(),
        }
    }
}

/// Runs an experiment, and checks that no child, descriptor, arena byte or file is left.
///
/// Nothing else may happen in the process meanwhile: see [`alone`].
#[track_caller]
pub fn check(experiment: impl FnOnce()) {
    // What is made once, at the first use.
    mp::spawn!(nothing)
        .expect("spawning")
        .join()
        .expect("doing nothing");
    let awaited = mp::spawn!(nothing).expect("spawning").into_future();
    block_on(awaited).expect("doing nothing");
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    drop(runtime.enable_all().build().expect("making a runtime"));
    let (files, before) = (files(), Census::take());
    experiment();
    // It stays for the next start, as it may.
    mp::__private::end_fork_server();
    assert_eq!(
        Census::take(),
        before,
        "left: what is there, right: what was there before"
    );
    no_more_files_than(&files);
}

/// Checks that there is no file in `/dev/shm` that was not there before.
#[track_caller]
pub(crate) fn no_more_files_than(before: &BTreeSet<String>) {
    // Another program may have a file there for a while.
    let left = || files().difference(before).next().is_none().then_some(());
    assert!(
        eventually(left).is_some(),
        "files are left in /dev/shm: {:?}",
        files().difference(before)
    );
}

pub(crate) fn files() -> BTreeSet<String> {
    let entries = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Runs the rest of a test in a process of its own, [checks](check) that it leaves nothing behind, and that the process
/// leaves no process behind.
///
/// `experiment` is a closure in the test, whose name it finds the test by.
#[track_caller]
pub fn alone<F: FnOnce()>(experiment: F) {
    in_own_process(|| check(experiment), type_name::<F>());
}

/// Does what [`alone`] does; but what other threads have in hand still may be left for a moment, as what a callback has that a
/// pool calls while it ends.
#[track_caller]
pub fn alone_in_the_end<F: FnOnce()>(experiment: F) {
    let check = || {
        check(|| {
            let before = Census::take();
            experiment();
            let _ = eventually(|| (Census::take() == before).then_some(()));
        });
    };
    in_own_process(check, type_name::<F>());
}

/// Runs the rest of a test in a process of its own, without the check for leaks inside of it.
#[track_caller]
pub fn apart<F: FnOnce()>(experiment: F) {
    in_own_process(experiment, type_name::<F>());
}

#[track_caller]
fn in_own_process(experiment: impl FnOnce(), closure: &str) {
    let test = closure
        .split("::")
        .skip(1)
        .take_while(|part| !part.starts_with('{'))
        .collect::<Vec<_>>()
        .join("::");
    if std::env::var(ALONE).is_ok_and(|alone| alone == test) {
        let _watchdog = Watchdog::new();
        experiment();
        return;
    }
    let binary = std::env::current_exe().expect("a test is in a binary");
    let mut command = Command::new(binary);
    command
        .args([&test, "--exact", "--nocapture", "--test-threads=1"])
        .env(ALONE, &test);
    let stdout = program::run(&mut command).nothing_stays().success();
    assert!(
        stdout.contains("1 passed"),
        "the test is not found as `{test}`:\n{stdout}"
    );
}
