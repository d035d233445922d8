//! Barriers.

mod common_shm;

use std::time::Duration;

use common_shm::{LONG, Random, kill, kills};
use mp::{Barrier, BarrierError, Value};
use multiproc_tests::leaks::alone;
use multiproc_tests::processes::eventually;

fn make(parties: usize) -> Barrier {
    Barrier::new(parties).expect("making a barrier")
}

#[track_caller]
fn until_waiting(barrier: &Barrier, count: usize) {
    let wait = || (barrier.waiting() == count).then_some(());
    assert!(eventually(wait).is_some(), "{}", barrier.waiting());
}

/// Counts itself in each round, and tells how often it was the leader.
#[mp::process_fn]
fn step(barrier: Barrier, come: Value<u32>, rounds: u32) -> u32 {
    let parties = barrier.parties() as u32;
    let mut led = 0;
    for round in 1..=rounds {
        *come.lock().expect("no death") += 1;
        led += u32::from(barrier.wait().expect("it is whole").is_leader());
        let come = come.get().expect("no death");
        assert!(
            (parties * round..parties * (round + 1)).contains(&come),
            "{come} in round {round}"
        );
    }
    led
}

#[mp::test]
fn nobody_passes_before_all_have_come() {
    alone(|| {
        const ROUNDS: u32 = 2_000;
        let (barrier, come) = (make(3), Value::new(0).expect("making a value"));
        let processes = [(); 3]
            .map(|()| mp::spawn!(step, barrier.clone(), come.clone(), ROUNDS).expect("spawning"));
        let led: u32 = processes
            .map(|process| process.join().expect("it ends"))
            .iter()
            .sum();
        assert_eq!(led, ROUNDS, "one leader in each round");
        assert_eq!(barrier.waiting(), 0);
    });
}

#[mp::test]
fn one_party_alone_always_passes() {
    alone(|| {
        let barrier = make(1);
        for _ in 0..100 {
            assert!(barrier.wait().expect("it is whole").is_leader());
            assert!(barrier.wait_timeout(Duration::ZERO).is_ok());
        }
        assert_eq!((barrier.parties(), barrier.waiting()), (1, 0));
        assert!(std::panic::catch_unwind(|| Barrier::new(0)).is_err());
        assert!(std::panic::catch_unwind(|| Barrier::new(1 << 24)).is_err());
    });
}

/// Waits, and tells how it ended.
#[mp::process_fn]
fn wait(barrier: Barrier) -> Result<bool, String> {
    match barrier.wait() {
        Ok(result) => Ok(result.is_leader()),
        Err(BarrierError::Broken) => Err("broken".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn waiters(count: usize, barrier: &Barrier) -> Vec<mp::Process<Result<bool, String>>> {
    let start = |_| mp::spawn!(wait, barrier.clone()).expect("spawning");
    let processes = (0..count).map(start).collect();
    until_waiting(barrier, count);
    processes
}

#[track_caller]
fn are_told(waiters: Vec<mp::Process<Result<bool, String>>>) {
    for waiter in waiters {
        let told = waiter.join().expect("it ends");
        assert_eq!(told, Err("broken".to_owned()));
    }
}

#[mp::test]
fn all_are_told_when_one_waits_for_too_long() {
    alone(|| {
        let barrier = make(4);
        let others = waiters(2, &barrier);
        let late = barrier.wait_timeout(Duration::from_millis(20));
        assert_eq!(late, Err(BarrierError::TimedOut));
        are_told(others);
        assert!(barrier.is_broken());
        assert_eq!(barrier.waiting(), 0);
        assert_eq!(barrier.wait(), Err(BarrierError::Broken));
        assert_eq!(barrier.wait_timeout(LONG), Err(BarrierError::Broken));
        let message = mp::Error::from(BarrierError::Broken).to_string();
        assert!(message.contains("`reset` makes it whole"), "{message}");
    });
}

#[mp::test]
fn an_aborted_barrier_is_broken_until_it_is_reset() {
    alone(|| {
        let barrier = make(3);
        let others = waiters(2, &barrier);
        barrier.abort();
        are_told(others);
        barrier.abort();
        assert!(barrier.is_broken());
        assert_eq!(barrier.wait(), Err(BarrierError::Broken));
        barrier.reset();
        assert!(!barrier.is_broken());
        let others = waiters(2, &barrier);
        assert!(barrier.wait().expect("it is whole").is_leader());
        for other in others {
            assert_eq!(other.join().expect("it ends"), Ok(false));
        }
        // With nobody there, too.
        barrier.abort();
        assert_eq!(barrier.wait(), Err(BarrierError::Broken));
    });
}

#[mp::test]
fn those_who_wait_are_told_of_a_reset() {
    alone(|| {
        let barrier = make(3);
        let others = waiters(2, &barrier);
        barrier.reset();
        assert_eq!((barrier.waiting(), barrier.is_broken()), (0, false));
        let new = waiters(2, &barrier);
        are_told(others);
        assert!(barrier.wait().expect("it is whole").is_leader());
        for other in new {
            assert_eq!(other.join().expect("it ends"), Ok(false));
        }
    });
}

#[mp::test]
fn who_dies_while_it_waits_has_come() {
    alone(|| {
        let barrier = make(3);
        for _ in 0..5 {
            let mut others = waiters(2, &barrier);
            kill(others.swap_remove(0));
            assert_eq!(barrier.waiting(), 2);
            assert!(barrier.wait().expect("it is whole").is_leader());
            for other in others {
                assert_eq!(other.join().expect("it ends"), Ok(false));
            }
        }
    });
}

/// Comes again and again, until it is killed or has come so often.
#[mp::process_fn]
fn come_again(barrier: Barrier, times: u32) {
    for _ in 0..times {
        barrier.wait().expect("nobody breaks it");
    }
}

#[mp::test]
fn survivors_pass_while_others_are_killed() {
    alone(|| {
        let mut random = Random::new();
        let barrier = make(2);
        let start = |times| mp::spawn!(come_again, barrier.clone(), times).expect("spawning");
        let survivors = [start(2_000), start(2_000)];
        let mut victims = vec![start(u32::MAX), start(u32::MAX)];
        for _ in 0..kills() {
            random.moment();
            kill(victims.swap_remove(random.below(2) as usize));
            victims.push(start(u32::MAX));
        }
        // The victims are there for each other and for the survivors, who may differ in their rounds.
        for survivor in survivors {
            survivor.join().expect("it survives");
        }
        victims.into_iter().for_each(kill);
        assert!(!barrier.is_broken());
    });
}

/// Comes, breaks and resets in every way.
#[mp::process_fn]
fn play(barrier: Barrier, seed: u64) {
    let mut number = seed;
    loop {
        number = number
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        match number >> 60 {
            0 => barrier.abort(),
            1..4 => barrier.reset(),
            4..8 => drop(barrier.wait_timeout(Duration::from_micros(number >> 40 & 0xff))),
            _ => drop(barrier.wait_timeout(LONG)),
        }
    }
}

#[mp::test]
fn a_reset_makes_a_barrier_whole_whatever_was_done_to_it() {
    alone(|| {
        let mut random = Random::new();
        let barrier = make(3);
        let start = |seed| mp::spawn!(play, barrier.clone(), seed).expect("spawning");
        let mut players: Vec<_> = (0..4).map(|_| start(random.below(u64::MAX))).collect();
        for _ in 0..kills() {
            random.moment();
            kill(players.swap_remove(random.below(4) as usize));
            players.push(start(random.below(u64::MAX)));
        }
        players.into_iter().for_each(kill);
        barrier.reset();
        assert_eq!((barrier.waiting(), barrier.is_broken()), (0, false));
        let others = waiters(2, &barrier);
        assert!(barrier.wait().expect("it is whole").is_leader());
        for other in others {
            assert_eq!(other.join().expect("it ends"), Ok(false));
        }
    });
}
