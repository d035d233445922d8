use std::thread;
use std::time::{Duration, Instant};

use crate::machine::{
    Area, Bare, Ends, ForkServer, Ring, RobustMutex, Waiting, Word, private_memory, stop,
    until_stopped,
};
use crate::{Cores, Rival, Schedule, expect, in_batches, keeping, round_trips, sampled, sum};

#[test]
fn sum_adds_also_what_does_not_fill_a_row() {
    let numbers: Vec<f64> = (0..1000).map(f64::from).collect();
    for length in [0, 1, 15, 16, 17, 1000] {
        let plain: f64 = numbers[..length].iter().sum();
        assert_eq!(sum(&numbers[..length]), plain);
    }
}

#[test]
fn expect_fails_on_what_is_wrong() {
    assert!(expect(1, 1).is_ok());
    assert!(expect(1, 2).unwrap_err().to_string().contains('2'));
}

#[test]
fn round_trips_do_not_count_their_pauses() {
    let pause = Duration::from_millis(50);
    let mut done = Vec::new();
    let once = |n| {
        done.push(n);
        Ok(())
    };
    let begin = Instant::now();
    let elapsed = round_trips(3, pause, once).unwrap();
    let all = begin.elapsed();
    assert_eq!(done, [0, 1, 2]);
    assert!(all - elapsed >= 3 * pause, "{elapsed:?} of {all:?}");
}

#[test]
fn batches_are_whole_and_their_time_is_that_of_the_operations_asked_for() {
    let mut batches = 0;
    let elapsed = in_batches(15, 10, || {
        batches += 1;
        thread::sleep(Duration::from_millis(20));
        Ok(())
    });
    assert_eq!(batches, 2);
    assert!(elapsed.unwrap() >= Duration::from_millis(30));
}

#[test]
fn a_sample_stands_for_more() {
    let mut work = sampled(10, |count| Ok(Duration::from_secs(count)));
    assert_eq!(work(5).unwrap(), Duration::from_secs(5));
    assert_eq!(work(1000).unwrap(), Duration::from_secs(1000));
    let mut most = 0;
    let mut work = sampled(10, |count| {
        most = most.max(count);
        Ok(Duration::ZERO)
    });
    work(1000).unwrap();
    drop(work);
    assert_eq!(most, 10);
}

#[test]
fn what_is_kept_is_made_once_and_at_the_first_turn() {
    let made = std::cell::Cell::new(0);
    let make = || {
        made.set(made.get() + 1);
        Ok(Vec::new())
    };
    let mut work = keeping(make, |turns, count| {
        turns.push(count);
        Ok(Duration::from_secs(turns.len() as u64))
    });
    assert_eq!(made.get(), 0);
    work(1).unwrap();
    assert_eq!(work(1).unwrap(), Duration::from_secs(2));
    assert_eq!(made.get(), 1);
}

#[test]
fn schedules_know_their_bounds() {
    let ms = Duration::from_millis;
    let many = Schedule::new(vec![ms(1); 10]);
    assert_eq!((many.least(2), many.one_by_one(2)), (ms(5), ms(5)));
    let first = many.clone().with_first(ms(10));
    assert_eq!((first.least(2), first.one_by_one(2)), (ms(10), ms(10)));
    let last = many.with_last(ms(10));
    assert_eq!((last.least(2), last.one_by_one(2)), (ms(10), ms(15)));
    assert_eq!(last.reversed().micros(), first.micros());
    let ramp = Schedule::ramp(ms(1), 3);
    assert_eq!(ramp.micros(), [1000, 2000, 3000]);
    assert_eq!((ramp.least(2), ramp.one_by_one(2)), (ms(3), ms(4)));
}

#[test]
fn an_area_is_the_same_memory_wherever_it_is_opened() {
    for area in [Area::new(4096), Area::populated(4096)] {
        let area = area.unwrap();
        let other = Area::open(area.path()).unwrap();
        // SAFETY: one after the other, in one thread.
        unsafe {
            area.numbers_mut()[511] = 7.0;
            assert_eq!(other.numbers()[511], 7.0);
        }
    }
}

#[test]
fn a_ring_hands_on_all_messages_in_order_around_its_end() {
    for ends in [Ends::Bare, Ends::Locked] {
        let ring = Ring::new(ends, 4, 8).unwrap();
        let sender = Ring::open(ring.path(), ends, 4, 8).unwrap();
        thread::scope(|scope| {
            scope.spawn(move || (0..10_000_u64).for_each(|n| sender.send(&n.to_le_bytes())));
            for n in 0..10_000 {
                let mut message = [0; 8];
                ring.receive(&mut message);
                assert_eq!(u64::from_le_bytes(message), n);
            }
        });
    }
}

#[test]
fn a_robust_mutex_excludes() {
    let area = Area::new(size_of::<RobustMutex>()).unwrap();
    let mutex: &RobustMutex = area.first();
    // SAFETY: the area is new, and shared.
    unsafe { mutex.init() }.unwrap();
    let number = std::cell::Cell::new(0);
    let shared = Shared(&number);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    mutex.with(|| shared.increment());
                }
            });
        }
    });
    assert_eq!(number.get(), 20_000);
}

struct Shared<'a>(&'a std::cell::Cell<u32>);

// SAFETY: it is used under the mutex.
unsafe impl Sync for Shared<'_> {}

impl Shared<'_> {
    fn increment(&self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn a_word_is_waited_for_in_each_way() {
    for waiting in [Waiting::Spin, Waiting::Yield, Waiting::Futex] {
        let area = Area::new(size_of::<Word>()).unwrap();
        let word: &Word = area.first();
        thread::scope(|scope| {
            scope.spawn(|| {
                word.wait_for(1, waiting);
                word.set(2, waiting);
            });
            word.set(1, waiting);
            word.wait_for(2, waiting);
        });
    }
}

#[test]
fn a_pinned_thread_has_one_core_until_the_guard_is_dropped() {
    let count = || thread::available_parallelism().unwrap().get();
    let before = count();
    let pinned = Cores::Same.pin().unwrap();
    assert_eq!(count(), 1);
    drop(pinned);
    assert_eq!(count(), before);
}

#[test]
fn a_bare_process_is_waited_for_and_its_failure_is_an_error() {
    Bare::execute(c"/bin/true", c"").unwrap().wait().unwrap();
    let failed = Bare::execute(c"/bin/false", c"").unwrap().wait();
    assert!(failed.is_err());
    assert!(Bare::execute(c"/no/such/program", c"").is_err());
}

#[test]
fn a_stopped_process_has_memory_to_itself() {
    let process = Bare::fork(stop).unwrap();
    until_stopped(process.id()).unwrap();
    let (page, most) = (4 << 10, 10 << 20);
    assert!((page..most).contains(&private_memory(process.id()).unwrap()));
    process.kill().unwrap();
}

#[test]
fn a_process_that_ends_does_not_stop() {
    let process = Bare::fork(|| {}).unwrap();
    assert!(until_stopped(process.id()).is_err());
    process.wait().unwrap();
}

#[test]
fn a_fork_server_answers_when_its_children_have_ended() {
    let server = ForkServer::start().unwrap();
    for count in [1, 10, 1] {
        server.start_and_wait(count).unwrap();
    }
}

#[test]
fn python_answers_if_it_is_here() {
    let rival: Rival = crate::rivals::python("lock");
    if let Ok(mut work) = rival {
        assert!(work(10).unwrap() > Duration::ZERO);
    }
    if let Ok(mut idle) = crate::rivals::python_memory("idle_fork") {
        assert!(idle().unwrap() > 1 << 10);
    }
}
