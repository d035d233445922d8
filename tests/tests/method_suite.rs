//! The suite itself: it tries all methods, and tells what goes wrong in them.

use std::fs::File;
use std::process::Command;

use mp::StartMethod;
use multiproc_tests::methods;
use multiproc_tests::methods::threads;
use multiproc_tests::program::run;

methods! {
    a_body_runs_on_the_only_thread_of_a_program,
    ; once:
    all_methods_are_tried,
    what_goes_wrong_in_a_body_fails_its_test,
    may_fail,
}

fn a_body_runs_on_the_only_thread_of_a_program(method: StartMethod) {
    assert_eq!(threads(), 1);
    assert_eq!(mp::current_process().name(), "MainProcess");
    assert!(StartMethod::available().contains(&method));
}

fn all_methods_are_tried() {
    let this = std::env::current_exe().unwrap();
    let listed = run(Command::new(this).arg("--list")).success();
    for method in ["spawn", "fork", "forkserver"] {
        let test = format!("{method}::a_body_runs_on_the_only_thread_of_a_program: test\n");
        assert!(listed.contains(&test), "{method}: {listed}");
    }
}

/// Does what it is asked to do.
fn may_fail() {
    match std::env::var("MULTIPROC_TESTS_FAIL").as_deref() {
        Ok("panic") => panic!("the body fails"),
        Ok("exit") => std::process::exit(0),
        Ok("file") => std::mem::forget(File::open("/dev/null").unwrap()),
        Ok("lock") => std::mem::forget(mp::Lock::new().unwrap()),
        Ok("zombie") => std::mem::forget(Command::new("true").spawn()),
        _ => {}
    }
}

fn what_goes_wrong_in_a_body_fails_its_test() {
    let this = std::env::current_exe().unwrap();
    for (what, words) in [
        ("panic", "the body fails"),
        ("exit", "it did not come to its end"),
        ("file", "what was there before"),
        ("lock", "what was there before"),
        ("zombie", "what was there before"),
    ] {
        let mut command = Command::new(&this);
        command.args(["once::may_fail", "--exact"]);
        let ended = run(command.env("MULTIPROC_TESTS_FAIL", what)).code(101);
        assert!(ended.stdout.contains("1 failed"), "{what}: {ended:#?}");
        assert!(ended.stdout.contains(words), "{what}: {ended:#?}");
    }
}
