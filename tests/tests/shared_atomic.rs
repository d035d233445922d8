//! Atomics.

mod common_shm;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use common_shm::{Random, kill, kills};
use mp::{Array, Atomic};
use multiproc_tests::leaks::alone;
use serde::{Deserialize, Serialize};

#[mp::process_fn]
fn add(number: Atomic<u64>, times: u64) {
    for _ in 0..times {
        number.fetch_add(1, Ordering::Relaxed);
    }
}

#[mp::test]
fn no_update_is_lost() {
    alone(|| {
        let number = Atomic::<u64>::new(5).expect("making an atomic");
        let adders: Vec<_> = (0..4)
            .map(|_| mp::spawn!(add, number.clone(), 100_000).expect("spawning"))
            .collect();
        for adder in adders {
            adder.join().expect("it ends");
        }
        assert_eq!(number.load(Ordering::Relaxed), 400_005);
    });
}

/// One of each type.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Family {
    unsigned: (Atomic<u8>, Atomic<u16>, Atomic<u32>, Atomic<u64>),
    signed: (Atomic<i8>, Atomic<i16>, Atomic<i32>, Atomic<i64>),
    sizes: BTreeMap<String, (Atomic<usize>, Atomic<isize>)>,
    flags: Vec<Option<Atomic<bool>>>,
}

#[mp::process_fn]
fn change(family: Family) -> Family {
    family.unsigned.0.fetch_add(1, Ordering::Relaxed);
    family.unsigned.1.fetch_sub(2, Ordering::Relaxed);
    family.unsigned.2.fetch_max(70_000, Ordering::Relaxed);
    family.unsigned.3.fetch_or(1 << 63, Ordering::Relaxed);
    family.signed.0.fetch_sub(1, Ordering::Relaxed);
    family.signed.1.swap(-300, Ordering::Relaxed);
    family.signed.2.fetch_min(-70_000, Ordering::Relaxed);
    family
        .signed
        .3
        .compare_exchange(4, i64::MIN, Ordering::AcqRel, Ordering::Relaxed)
        .expect("it is 4");
    for (size, offset) in family.sizes.values() {
        size.store(usize::MAX, Ordering::Release);
        offset.store(isize::MIN, Ordering::Release);
    }
    for flag in family.flags.iter().flatten() {
        flag.fetch_xor(true, Ordering::Relaxed);
    }
    family
}

#[mp::test]
fn all_types_travel_in_any_place_and_stay_the_same() {
    alone(|| {
        fn new<T: mp::AtomicPrimitive>(value: T) -> Atomic<T> {
            Atomic::new(value).expect("making an atomic")
        }
        let family = Family {
            unsigned: (new(1), new(2), new(3), new(4)),
            signed: (new(1), new(2), new(3), new(4)),
            sizes: BTreeMap::from([("here".to_owned(), (new(0), new(0)))]),
            flags: vec![None, Some(new(false)), Some(new(true))],
        };
        let process = mp::spawn!(change, family.clone()).expect("spawning");
        let returned = process.join().expect("it ends");
        assert_eq!(format!("{returned:?}"), format!("{family:?}"));
        let unsigned = &family.unsigned;
        assert_eq!(unsigned.0.load(Ordering::Relaxed), 2);
        assert_eq!(unsigned.1.load(Ordering::Relaxed), 0);
        assert_eq!(unsigned.2.load(Ordering::Relaxed), 70_000);
        assert_eq!(unsigned.3.load(Ordering::Relaxed), 1 << 63 | 4);
        let signed = &family.signed;
        assert_eq!(signed.0.load(Ordering::Relaxed), 0);
        assert_eq!(signed.1.load(Ordering::Relaxed), -300);
        assert_eq!(signed.2.load(Ordering::Relaxed), -70_000);
        assert_eq!(signed.3.load(Ordering::Relaxed), i64::MIN);
        let (size, offset) = &family.sizes["here"];
        assert_eq!(size.load(Ordering::Acquire), usize::MAX);
        assert_eq!(offset.load(Ordering::Acquire), isize::MIN);
        assert_eq!(
            format!("{:?}", family.flags),
            "[None, Some(Atomic(true)), Some(Atomic(false))]"
        );
        // What came back is the same, and not a copy.
        returned.unsigned.0.store(99, Ordering::Relaxed);
        assert_eq!(family.unsigned.0.load(Ordering::Relaxed), 99);
    });
}

#[mp::test]
fn through_a_queue_it_lives_on_without_its_maker() {
    alone(|| {
        let queue = mp::Queue::new().expect("making a queue");
        let atomic = Atomic::<u32>::new(7).expect("making an atomic");
        queue.put(vec![atomic.clone()]).expect("putting");
        drop(atomic);
        let got = queue.get().expect("getting");
        assert_eq!(got[0].fetch_add(1, Ordering::Relaxed), 7);
    });
}

#[mp::test]
fn each_has_a_cache_line_of_its_own() {
    alone(|| {
        let atomics: Vec<_> = (0..10)
            .map(|n| Atomic::<u8>::new(n).expect("making an atomic"))
            .collect();
        let mut places: Vec<_> = atomics
            .iter()
            .map(|atomic| atomic.as_ptr().addr() / 64)
            .collect();
        assert!(
            atomics
                .iter()
                .all(|atomic| atomic.as_ptr().addr() % 64 == 0)
        );
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 10);
    });
}

/// Counts each step before and after it.
#[mp::process_fn]
fn hammer(number: Atomic<u64>, begun: Atomic<u64>, done: Atomic<u64>) {
    loop {
        begun.fetch_add(1, Ordering::SeqCst);
        number.fetch_add(1, Ordering::SeqCst);
        done.fetch_add(1, Ordering::SeqCst);
    }
}

#[mp::test]
fn the_count_is_what_was_acknowledged_whoever_is_killed() {
    alone(|| {
        let mut random = Random::new();
        let number = Atomic::<u64>::new(0).expect("making an atomic");
        let mut accounts = Vec::new();
        let mut start = || {
            let account = [(); 2].map(|()| Atomic::<u64>::new(0).expect("making an atomic"));
            let [begun, done] = account.clone();
            accounts.push(account);
            mp::spawn!(hammer, number.clone(), begun, done).expect("spawning")
        };
        let mut victims: Vec<_> = (0..3).map(|_| start()).collect();
        for _ in 0..kills() {
            random.moment();
            kill(victims.swap_remove(random.below(3) as usize));
            victims.push(start());
        }
        // The last ones have worked, too.
        let before = number.load(Ordering::SeqCst);
        while number.load(Ordering::SeqCst) == before {
            std::thread::yield_now();
        }
        victims.into_iter().for_each(kill);
        let sum = |which: usize| -> u64 {
            accounts
                .iter()
                .map(|account| account[which].load(Ordering::SeqCst))
                .sum()
        };
        let (begun, done, number) = (sum(0), sum(1), number.load(Ordering::SeqCst));
        assert!(done <= number && number <= begun, "{done} {number} {begun}");
        assert!(begun - done <= accounts.len() as u64, "{done} {begun}");
    });
}

#[mp::process_fn]
fn publish(ready: Atomic<bool>, data: Array<u64>) {
    data.lock().expect("no death").fill(42);
    ready.store(true, Ordering::Release);
}

#[mp::test]
fn a_flag_publishes_what_was_written_before() {
    alone(|| {
        let ready = Atomic::new(false).expect("making an atomic");
        let data = Array::<u64>::zeroed(1000).expect("making an array");
        let process = mp::spawn!(publish, ready.clone(), data.clone()).expect("spawning");
        while !ready.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        assert_eq!(data.to_vec().expect("it is free"), [42; 1000]);
        process.join().expect("it ends");
    });
}
