//! Records of processes that ended after their parents.

use multiproc_tests::leaks::alone;
use multiproc_tests::processes::Watched;

#[mp::process_fn]
fn wait(go: mp::Event) {
    go.wait().expect("waiting");
}

/// Starts processes that wait for `go`, tells their ids, and waits to be killed.
#[mp::process_fn]
fn start_many(count: usize, go: mp::Event, ids: mp::Queue<u32>) {
    for _ in 0..count {
        let process = mp::spawn!(wait, go.clone()).expect("spawning");
        ids.put(process.id()).expect("putting");
    }
    loop {
        std::thread::park();
    }
}

/// Checks that `count` processes which end after their parent's death, and before anybody looks, are forgotten.
fn orphans_are_forgotten(count: usize) {
    let go = mp::Event::new().expect("making an event");
    let ids = mp::Queue::new().expect("making a queue");
    let parent = mp::spawn!(start_many, count, go.clone(), ids.clone()).expect("spawning");
    let orphans: Vec<_> = (0..count)
        .map(|_| Watched::new(ids.get().expect("getting")))
        .collect();
    parent.kill().expect("killing");
    parent.join().expect_err("it was killed");
    go.set();
    for orphan in orphans {
        orphan.ends();
    }
    assert_eq!(mp::arena_stats().expect("the arena is there").processes, 1);
}

#[mp::test]
fn the_records_of_orphans_are_freed() {
    alone(|| orphans_are_forgotten(3));
}

#[mp::test]
fn the_records_of_many_orphans_that_ended_at_once_are_freed() {
    alone(|| orphans_are_forgotten(150));
}
