//! The protocols of the condition's and the barrier's words, with waiters that die at their worst moments: a waiter that
//! is dead is one that never comes back to its word.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::ends;
use crate::sync::barrier_word::{Arrival, BarrierWord, Ending, Round};
use crate::sync::condition_word::{ConditionWord, Ticket};

/// Whether a waiter may go at once.
fn may_go(word: &ConditionWord, ticket: Ticket) -> bool {
    word.wait(ticket, Some(Instant::now()))
}

#[test]
fn a_notification_is_for_those_who_wait() {
    let word = ConditionWord::new();
    word.notify_one();
    word.notify_all();
    let late = word.enter();
    assert!(!may_go(&word, late));
}

#[test]
fn each_notification_lets_one_go() {
    let word = ConditionWord::new();
    let tickets = [(); 3].map(|()| word.enter());
    word.notify_one();
    assert!(may_go(&word, tickets[1]));
    assert!(!may_go(&word, tickets[0]));
    // The third one waits still; more notifications than waiters are not kept.
    for _ in 0..5 {
        word.notify_one();
    }
    assert!(may_go(&word, tickets[2]));
    let late = [(); 2].map(|()| word.enter());
    assert!(!may_go(&word, late[0]));
    word.notify_all();
    assert!(may_go(&word, late[1]));
    assert!(!may_go(&word, word.enter()));
}

#[test]
fn who_comes_later_takes_no_wake_from_who_came_before() {
    let word = ConditionWord::new();
    let first = word.enter();
    word.notify_one();
    let second = word.enter();
    assert!(!may_go(&word, second));
    assert!(may_go(&word, first));
}

#[test]
fn a_wake_that_comes_with_the_deadline_is_not_lost() {
    let word = ConditionWord::new();
    let ticket = word.enter();
    word.notify_one();
    assert!(word.wait(ticket, Some(Instant::now() - Duration::from_secs(1))));
}

#[test]
fn dead_waiters_take_no_wake_from_the_living() {
    let word = ConditionWord::new();
    let _dead = [(); 3].map(|()| word.enter());
    for _ in 0..10 {
        let living = word.enter();
        word.notify_one();
        assert!(may_go(&word, living));
    }
    // Woken, and dead before they went.
    word.notify_all();
    for _ in 0..10 {
        let living = word.enter();
        assert!(!may_go(&word, living), "it was not for this one");
        let living = word.enter();
        word.notify_one();
        assert!(may_go(&word, living));
    }
}

#[test]
fn more_dead_waiters_than_can_be_counted() {
    let word = ConditionWord::new();
    for _ in 0..(1 << 20) + 5 {
        word.enter();
    }
    for _ in 0..10 {
        let living = [(); 2].map(|()| word.enter());
        word.notify_one();
        assert!(may_go(&word, living[0]));
        word.notify_all();
        assert!(may_go(&word, living[1]));
    }
}

#[test]
fn sleepers_go_one_by_one() {
    let word: &ConditionWord = Box::leak(Box::new(ConditionWord::new()));
    static GONE: AtomicU32 = AtomicU32::new(0);
    let tickets = [(); 3].map(|()| word.enter());
    let sleepers = tickets.map(|ticket| {
        thread::spawn(move || {
            assert!(word.wait(ticket, None));
            GONE.fetch_add(1, Ordering::SeqCst);
        })
    });
    for gone in 1..=3 {
        word.notify_one();
        ends(move || while GONE.load(Ordering::SeqCst) < gone {});
        // Longer than anybody sleeps without a look.
        thread::sleep(Duration::from_millis(1100));
        assert_eq!(GONE.load(Ordering::SeqCst), gone);
    }
    for sleeper in sleepers {
        ends(|| sleeper.join()).expect("no panic");
    }
}

#[test]
fn no_notification_is_missed() {
    const ITEMS: u32 = 20_000;
    let word: &ConditionWord = Box::leak(Box::new(ConditionWord::new()));
    static ITEMS_THERE: Mutex<u32> = Mutex::new(0);
    let consume = move || {
        for _ in 0..ITEMS {
            let mut items = ITEMS_THERE.lock().expect("no panic");
            while *items == 0 {
                let ticket = word.enter();
                drop(items);
                word.wait(ticket, None);
                items = ITEMS_THERE.lock().expect("no panic");
            }
            *items -= 1;
        }
    };
    let produce = move || {
        for _ in 0..ITEMS {
            *ITEMS_THERE.lock().expect("no panic") += 1;
            word.notify_one();
        }
    };
    let threads = [consume; 3].map(thread::spawn);
    for _ in 0..3 {
        ends(produce);
    }
    for thread in threads {
        ends(|| thread.join()).expect("no panic");
    }
}

/// Comes to a barrier for three that is neither broken nor full.
fn come(word: &BarrierWord) -> Round {
    match word.arrive(3) {
        Arrival::Early(round) => round,
        other => panic!("{other:?}"),
    }
}

/// Lets a round pass.
fn pass(word: &BarrierWord) {
    let rounds = [come(word), come(word)];
    assert_eq!(word.arrive(3), Arrival::Last);
    for round in rounds {
        assert_eq!(word.wait(round, None), Ending::Passed);
    }
}

#[test]
fn the_last_lets_the_others_pass() {
    let word = BarrierWord::new();
    for _ in 0..40 {
        pass(&word);
        assert_eq!((word.waiting(), word.is_broken()), (0, false));
    }
    let _dead = [come(&word), come(&word)];
    assert_eq!(word.waiting(), 2);
    assert_eq!(word.arrive(3), Arrival::Last, "the dead have come");
}

#[test]
fn a_late_look_tells_how_the_round_ended() {
    let word = BarrierWord::new();
    let passed = come(&word);
    come(&word);
    assert_eq!(word.arrive(3), Arrival::Last);
    let broken = come(&word);
    word.abort();
    assert_eq!(word.wait(passed, None), Ending::Passed);
    assert_eq!(word.wait(broken, None), Ending::Broken);
    word.abort();
    assert_eq!(word.arrive(3), Arrival::Broken);
    word.reset();
    let reset = come(&word);
    word.reset();
    for _ in 0..10 {
        pass(&word);
        assert_eq!(word.wait(passed, None), Ending::Passed);
        assert_eq!(word.wait(broken, None), Ending::Broken);
        assert_eq!(word.wait(reset, None), Ending::Broken);
    }
}

#[test]
fn a_very_late_look_tells_what_the_last_rounds_were() {
    let word = BarrierWord::new();
    let passed = come(&word);
    come(&word);
    assert_eq!(word.arrive(3), Arrival::Last);
    for _ in 0..100 {
        pass(&word);
    }
    assert_eq!(word.wait(passed, None), Ending::Passed);
    let broken = come(&word);
    for _ in 0..20 {
        word.reset();
        come(&word);
    }
    assert_eq!(word.wait(broken, None), Ending::Broken);
}

#[test]
fn a_deadline_breaks_a_round_that_has_not_ended() {
    let word = BarrierWord::new();
    let past = Some(Instant::now());
    let rounds = [come(&word), come(&word)];
    assert_eq!(word.wait(rounds[0], past), Ending::TimedOut);
    assert_eq!(word.wait(rounds[1], past), Ending::Broken);
    assert!(word.is_broken());
    word.reset();
    let early = come(&word);
    come(&word);
    assert_eq!(word.arrive(3), Arrival::Last);
    assert_eq!(word.wait(early, past), Ending::Passed);
    assert!(!word.is_broken());
}

#[test]
fn rounds_are_counted_around() {
    let word = BarrierWord::new();
    // One round before the number begins again.
    for _ in 0..(1 << 23) - 1 {
        word.arrive(1);
    }
    let passed = come(&word);
    come(&word);
    assert_eq!(word.arrive(3), Arrival::Last);
    let broken = come(&word);
    word.reset();
    assert_eq!(word.wait(passed, None), Ending::Passed);
    assert_eq!(word.wait(broken, None), Ending::Broken);
    pass(&word);
}

#[test]
fn threads_pass_together() {
    const ROUNDS: u32 = 10_000;
    let word: &BarrierWord = Box::leak(Box::new(BarrierWord::new()));
    static COME: AtomicU32 = AtomicU32::new(0);
    let step = move || {
        let mut led = 0;
        for round in 1..=ROUNDS {
            COME.fetch_add(1, Ordering::SeqCst);
            match word.arrive(3) {
                Arrival::Last => led += 1,
                Arrival::Early(round) => assert_eq!(word.wait(round, None), Ending::Passed),
                Arrival::Broken => panic!("nobody broke it"),
            }
            assert!(COME.load(Ordering::SeqCst) >= 3 * round);
        }
        led
    };
    let threads = [step; 3].map(thread::spawn);
    let led: u32 = threads
        .map(|thread| ends(|| thread.join()).expect("no panic"))
        .iter()
        .sum();
    assert_eq!(led, ROUNDS);
}
