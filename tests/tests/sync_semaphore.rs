//! Semaphores.

mod common_shm;

use std::time::Duration;

use common_shm::{LONG, Random, kill, kills, stats};
use mp::{AcquireError, BoundedSemaphore, Event, Queue, Semaphore, Value};
use multiproc_tests::leaks::{alone, apart};
use multiproc_tests::processes::eventually;

fn make(permits: usize) -> Semaphore {
    Semaphore::new(permits).expect("making a semaphore")
}

/// Counts who is inside, and tells the most that it saw.
#[mp::process_fn]
fn enter(semaphore: Semaphore, inside: Value<u32>, times: u32) -> u32 {
    let mut most = 0;
    for _ in 0..times {
        let _permit = semaphore.acquire().expect("waiting");
        most = most.max(inside.update(|inside| inside + 1).expect("no death"));
        std::thread::yield_now();
        inside.update(|inside| inside - 1).expect("no death");
    }
    most
}

#[mp::test]
fn no_more_are_inside_than_there_are_permits() {
    alone(|| {
        let (semaphore, inside) = (make(2), Value::new(0).expect("making a value"));
        let processes = [(); 4].map(|()| {
            mp::spawn!(enter, semaphore.clone(), inside.clone(), 2_000).expect("spawning")
        });
        let most = processes.map(|process| process.join().expect("it ends"));
        let most = most.into_iter().max().expect("there are some");
        assert!((1..=2).contains(&most), "{most}");
        assert_eq!(semaphore.value(), 2);
    });
}

#[mp::process_fn]
fn take_all(semaphore: Semaphore) -> u32 {
    let mut taken = 0;
    while semaphore.acquire_timeout(LONG).is_ok_and(|permit| {
        permit.forget();
        taken += 1;
        taken < 1_000
    }) {}
    taken
}

#[mp::test]
fn releases_are_counted() {
    alone(|| {
        let semaphore = make(0);
        let taker = mp::spawn!(take_all, semaphore.clone()).expect("spawning");
        for number in 0..1_000 {
            semaphore.release().expect("there is room");
            if number % 100 == 0 {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        assert_eq!(taker.join().expect("it ends"), 1_000);
        assert_eq!(semaphore.value(), 0);
    });
}

#[mp::test]
fn one_who_finds_no_permit_is_told() {
    alone(|| {
        let semaphore = make(1);
        let permit = semaphore.try_acquire().expect("there is one");
        assert_eq!(
            semaphore.try_acquire().err(),
            Some(AcquireError::WouldBlock)
        );
        for timeout in [Duration::ZERO, Duration::from_millis(5)] {
            let late = semaphore.acquire_timeout(timeout);
            assert_eq!(late.err(), Some(AcquireError::TimedOut));
        }
        let message = mp::Error::from(AcquireError::WouldBlock).to_string();
        assert!(message.contains("no permit left"), "{message}");
        // Permits go from thread to thread.
        std::thread::scope(|scope| {
            scope.spawn(|| drop(permit));
            drop(semaphore.acquire_timeout(Duration::MAX).expect("it comes"));
        });
        assert_eq!(semaphore.value(), 1);
        let most = make(usize::MAX);
        assert!(most.release().is_err());
        assert_eq!(most.value(), usize::MAX);
    });
}

#[mp::test]
fn a_bounded_one_never_has_more_than_its_bound() {
    alone(|| {
        let semaphore = BoundedSemaphore::new(2).expect("making a semaphore");
        let error = semaphore.release().expect_err("all are there");
        assert_eq!((error.bound(), semaphore.value()), (2, 2));
        let [first, second] = [(); 2].map(|()| semaphore.acquire().expect("there are two"));
        assert!(semaphore.try_acquire().is_err());
        first.forget();
        semaphore.release().expect("one was forgotten");
        // Released by somebody else: it does not come back twice.
        semaphore.release().expect("one is out");
        assert!(semaphore.release().is_err());
        drop(second);
        assert_eq!(semaphore.value(), 2);
        let zero = std::panic::catch_unwind(|| BoundedSemaphore::new(0));
        assert!(zero.is_err());
    });
}

#[mp::process_fn]
fn hold(semaphore: Semaphore, ready: Queue<()>) {
    let _permits = [(); 2].map(|()| semaphore.acquire().expect("waiting"));
    ready.put(()).expect("putting");
    loop {
        std::thread::park();
    }
}

#[mp::process_fn]
fn hold_bounded(semaphore: BoundedSemaphore, ready: Queue<()>) {
    let _permit = semaphore.acquire().expect("waiting");
    ready.put(()).expect("putting");
    loop {
        std::thread::park();
    }
}

#[mp::test]
fn the_permits_of_a_process_come_back_when_it_is_buried() {
    alone(|| {
        let (semaphore, ready) = (make(5), Queue::new().expect("making a queue"));
        let holders =
            [(); 2].map(|()| mp::spawn!(hold, semaphore.clone(), ready.clone()).expect("spawning"));
        for _ in &holders {
            ready.get().expect("getting");
        }
        assert_eq!(semaphore.value(), 1);
        for (holder, value) in holders.into_iter().zip([3, 5]) {
            kill(holder);
            assert_eq!(semaphore.value(), value);
        }
    });
}

#[mp::test]
fn permits_that_were_released_for_a_dead_one_do_not_come_twice() {
    alone(|| {
        let semaphore = BoundedSemaphore::new(1).expect("making a semaphore");
        let ready = Queue::new().expect("making a queue");
        let holder = mp::spawn!(hold_bounded, semaphore.clone(), ready.clone()).expect("spawning");
        ready.get().expect("getting");
        semaphore.release().expect("one is out");
        kill(holder);
        assert_eq!(semaphore.value(), 1);
    });
}

/// Starts one that holds all permits, and does not look when it is killed.
#[mp::process_fn]
fn neglect(semaphore: Semaphore, ready: Queue<()>, pid: Value<u32>, end: Event) {
    let holder = mp::spawn!(hold, semaphore, ready.clone()).expect("spawning");
    pid.set(holder.id()).expect("no death");
    end.wait().expect("waiting");
    holder.wait();
}

#[mp::test]
fn who_waits_need_not_wait_for_the_burial() {
    alone(|| {
        let (semaphore, ready) = (make(2), Queue::new().expect("making a queue"));
        let pid = Value::new(0).expect("making a value");
        let end = Event::new().expect("making an event");
        let parent = mp::spawn!(
            neglect,
            semaphore.clone(),
            ready.clone(),
            pid.clone(),
            end.clone()
        )
        .expect("spawning");
        ready.get().expect("getting");
        let id = eventually(|| pid.get().ok().filter(|pid| *pid != 0)).expect("it is told");
        multiproc_tests::processes::Watched::new(id).kill();
        let permit = semaphore.acquire_timeout(LONG).expect("its holder is dead");
        assert_eq!(semaphore.value(), 1);
        end.set();
        parent.join().expect("it ends");
        // Not given back a second time by the burial.
        assert_eq!(semaphore.value(), 1);
        drop(permit);
        assert_eq!(semaphore.value(), 2);
    });
}

#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
enum End {
    Exit,
    Panic,
    Forget,
    ForgetMemory,
}

/// Ends with a permit.
#[mp::process_fn]
fn end_with_a_permit(semaphore: Semaphore, end: End) {
    let permit = semaphore.acquire().expect("waiting");
    match end {
        End::Exit => std::process::exit(0),
        End::Panic => std::panic::resume_unwind(Box::new("on purpose")),
        End::Forget => permit.forget(),
        End::ForgetMemory => std::mem::forget(permit),
    }
}

#[mp::test]
fn permits_come_back_however_a_process_ends() {
    alone(|| {
        for (end, value) in [
            (End::Exit, 1),
            (End::Panic, 1),
            (End::ForgetMemory, 1),
            (End::Forget, 0),
        ] {
            let semaphore = make(1);
            mp::spawn!(end_with_a_permit, semaphore.clone(), end)
                .expect("spawning")
                .wait();
            let come = || (semaphore.value() == value).then_some(());
            assert!(eventually(come).is_some(), "{}", semaphore.value());
        }
    });
}

#[mp::test]
fn a_semaphore_stays_for_as_long_as_a_permit_is_owed() {
    apart(|| {
        let before = stats().objects;
        let semaphore = make(1);
        std::mem::forget(semaphore.acquire().expect("there is one"));
        drop(semaphore);
        assert_eq!(stats().objects, before + 1);
    });
}

/// Takes and gives permits until it is killed.
#[mp::process_fn]
fn use_permits(semaphore: Semaphore) {
    loop {
        let _one = semaphore.acquire().expect("waiting");
        if let Ok(_two) = semaphore.try_acquire() {
            std::hint::spin_loop();
        }
    }
}

#[mp::test]
fn survivors_go_on_and_all_permits_come_back_when_others_are_killed() {
    alone(|| {
        let mut random = Random::new();
        let (semaphore, inside) = (make(2), Value::new(0).expect("making a value"));
        let survivors = [(); 2].map(|()| {
            mp::spawn!(enter, semaphore.clone(), inside.clone(), 5_000).expect("spawning")
        });
        let victim = || mp::spawn!(use_permits, semaphore.clone()).expect("spawning");
        let mut victims = vec![victim(), victim()];
        for _ in 0..kills() {
            random.moment();
            kill(victims.swap_remove(random.below(2) as usize));
            victims.push(victim());
        }
        victims.into_iter().for_each(kill);
        for survivor in survivors {
            assert!(survivor.join().expect("it survives") <= 2);
        }
        assert_eq!(semaphore.value(), 2);
    });
}
