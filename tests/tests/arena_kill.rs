//! Processes that are killed while they allocate. `MP_KILLS` sets how many.

mod common_shm;

use common_shm::{Random, kill, kills, stats};
use multiproc_tests::leaks::alone;

/// Makes and drops objects of all kinds and sizes, and messages that name them.
#[mp::process_fn]
fn make_and_drop(seed: u64, ready: mp::Event) {
    let mut number = seed;
    let mut kept = Vec::new();
    loop {
        number = number
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        let length = (number >> 33) as usize % 3000;
        let array = mp::Array::from_slice(&vec![7_u8; length]).expect("making an array");
        let queue = mp::Queue::new().expect("making a queue");
        for _ in 0..length % 40 {
            queue.put(Some(array.clone())).expect("putting");
        }
        for _ in 0..length % 30 {
            queue.try_get().ok();
        }
        let (tx, rx) = mp::channel().expect("making a channel");
        tx.send(queue.clone()).expect("sending");
        tx.send(queue).expect("sending");
        kept.push((rx, mp::Lock::new().expect("making a lock"), array));
        if kept.len() > length % 8 {
            kept.clear();
        }
        ready.set();
    }
}

#[mp::test]
fn what_killed_processes_held_is_given_back() {
    alone(|| {
        let mut random = Random::new();
        let ready = mp::Event::new().expect("making an event");
        let before = stats();
        for _ in 0..kills() {
            ready.clear();
            let victims = [(); 2].map(|()| {
                mp::spawn!(make_and_drop, random.below(u64::MAX), ready.clone()).expect("spawning")
            });
            ready.wait().expect("waiting");
            random.moment();
            victims.into_iter().for_each(kill);
            assert_eq!(stats(), before);
        }
    });
}

/// Has a child that allocates, and that outlives it.
#[mp::process_fn]
fn start_and_drop(ready: mp::Event) {
    loop {
        let child = mp::Builder::new()
            .daemon(true)
            .spawn::<make_and_drop>((1, ready.clone()));
        drop(child.expect("spawning").kill());
    }
}

#[mp::test]
fn what_processes_held_whose_parents_were_killed_is_given_back() {
    alone(|| {
        let mut random = Random::new();
        let ready = mp::Event::new().expect("making an event");
        let before = stats();
        for _ in 0..kills() / 3 {
            ready.clear();
            let victim = mp::spawn!(start_and_drop, ready.clone()).expect("spawning");
            let _ = ready
                .wait_timeout(std::time::Duration::from_millis(5))
                .expect("waiting");
            random.moment();
            kill(victim);
        }
        let back = || (stats() == before).then_some(());
        assert!(
            multiproc_tests::processes::eventually(back).is_some(),
            "{:?}, before: {before:?}",
            stats()
        );
    });
}
