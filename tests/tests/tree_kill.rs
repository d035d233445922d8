//! A process that starts children as fast as it can is killed at any instant: no process, no file, and nothing in the
//! shared memory of others is left. `MP_KILLS` sets how often.

mod common_shm;

use std::process::Command;
use std::thread;
use std::time::Duration;

use common_shm::Random;
use mp::StartMethod;
use multiproc_tests::methods;
use multiproc_tests::methods::by;
use multiproc_tests::processes::{descriptors, eventually};
use multiproc_tests::program::Running;
use multiproc_tests::trees::{number, storm};
use rustix::process::{Pid, Signal, kill_process};

methods! { nothing_stays_of_a_program_in_a_storm, nothing_is_left_of_a_child_in_a_storm }

fn kills() -> u32 {
    number("MP_KILLS", 40)
}

/// Some instant: in the middle of the first start, or of a later one.
fn pause(random: &mut Random) {
    let most = if random.below(2) == 0 {
        10_000
    } else {
        100_000
    };
    thread::sleep(Duration::from_micros(random.below(most)));
}

fn nothing_stays_of_a_program_in_a_storm(method: StartMethod) {
    let mut random = Random::new();
    for kill in 0..kills() {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tree_program"));
        let running = Running::start(command.args(["storm", method.name()]));
        // Sometimes before it has come to `main`.
        if kill % 4 != 0 {
            running.said("begun\n");
        }
        pause(&mut random);
        let id = Pid::from_raw(running.child.id().cast_signed()).expect("it is a process");
        kill_process(id, Signal::KILL).expect("it is there");
        let ended = running.end().nothing_stays();
        assert!(!ended.stderr.contains("panicked"), "{ended:#?}");
    }
}

/// By a process of another generation that lives on.
fn nothing_is_left_of_a_child_in_a_storm(method: StartMethod) {
    let mut random = Random::new();
    let (before, open) = (
        mp::arena_stats().expect("the arena is there"),
        descriptors(),
    );
    for kill in 0..kills() {
        let begun = mp::Event::new().expect("making an event");
        let child = by(method).spawn::<storm>((method.name(), begun.clone()));
        let child = child.expect("starting a child");
        if kill % 4 != 0 {
            begun.wait().expect("waiting");
        }
        pause(&mut random);
        child.kill().expect("killing");
        child.join().expect_err("it is killed");
        drop(begun);
        let swept = || (mp::arena_stats().expect("the arena is there") == before).then_some(());
        assert!(
            eventually(swept).is_some(),
            "after {kill} kills {:?}, and before {before:?}",
            mp::arena_stats()
        );
        assert_eq!(descriptors(), open, "after {kill} kills");
    }
}
