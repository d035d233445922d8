//! Very many killed processes, one after another. `MP_KILLS` sets how many, in hundreds.
//!
//! The file has one test, which watches over a part at a time: all of it may take minutes.

mod common_shm;

use common_shm::{Random, kill, kills, stats};
use multiproc_tests::leaks::check;
use multiproc_tests::watchdog::Watchdog;

type Items = mp::Queue<(u32, Option<mp::Array<u8>>)>;

/// Is killed anywhere between its start and the middle of what it does for ever.
#[mp::process_fn]
fn act(items: Items, total: mp::Value<u64>, started: mp::Semaphore) {
    started.release().expect("releasing");
    for number in 0.. {
        let array = mp::Array::zeroed(number as usize % 5000).expect("making an array");
        items.put((number, Some(array))).expect("putting");
        items.put((number, None)).expect("putting");
        match total.lock() {
            Ok(mut total) | Err(mp::LockError::OwnerDied(mut total)) => *total += 1,
            Err(error) => panic!("{error}"),
        }
        drop((items.try_get(), items.try_get()));
    }
}

#[mp::test]
fn nothing_is_left_of_very_many_killed_processes() {
    const AT_A_TIME: u32 = 4;
    const WATCHED: u32 = 100;
    let mut random = Random::new();
    check(|| {
        let before = stats();
        let mut killed = 0;
        while killed < kills() {
            let _watchdog = Watchdog::new();
            let items = Items::new().expect("making a queue");
            let total = mp::Value::new(0).expect("making a value");
            let started = mp::Semaphore::new(0).expect("making a semaphore");
            for _ in 0..WATCHED / AT_A_TIME {
                let victims = [(); AT_A_TIME as usize].map(|()| {
                    mp::spawn!(act, items.clone(), total.clone(), started.clone())
                        .expect("spawning")
                });
                // Most have begun then, some not.
                if random.below(4) > 0 {
                    started.acquire().expect("a permit").forget();
                }
                random.moment();
                victims.into_iter().for_each(kill);
                killed += AT_A_TIME;
            }
            drop((items, total, started));
            assert_eq!(stats(), before, "after {killed} killed processes");
        }
        eprintln!("{killed} processes were killed");
    });
}
