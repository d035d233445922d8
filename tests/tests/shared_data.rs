//! Data that is written once and read everywhere.

mod common_shm;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use common_shm::{Random, kill, kills, stats};
use mp::bytemuck::{Pod, Zeroable};
use mp::{Array, Error, Shared};
use multiproc_tests::leaks::alone;
use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};

const MEGABYTE: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[bytemuck(crate = "mp::bytemuck")]
#[repr(C, align(64))]
struct Line([u32; 16]);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Model {
    name: String,
    layers: Vec<Shared<[f32]>>,
    line: Option<Shared<Line>>,
}

#[mp::process_fn]
fn look(model: Model, numbers: Shared<[u64]>) -> (Vec<f32>, u32, u64, usize) {
    let line = model.line.as_ref().expect("there is one");
    let sums = model.layers.iter().map(|layer| layer.iter().sum());
    let places = [
        std::ptr::from_ref(&**line).addr(),
        numbers.as_ptr().addr(),
        model.layers[0].as_ptr().addr(),
    ];
    (
        sums.collect(),
        line.0.iter().sum(),
        numbers.iter().sum(),
        places.iter().map(|place| place % 64).sum(),
    )
}

#[mp::test]
fn it_is_the_same_everywhere_and_aligned() {
    alone(|| {
        let model = Model {
            name: "small".to_owned(),
            layers: vec![
                Shared::from_slice(&[1.0, 2.0]).expect("sharing"),
                Shared::from_iter([4.0, 8.0, 16.0]).expect("sharing"),
            ],
            line: Some(Shared::new(Line([3; 16])).expect("sharing")),
        };
        let numbers = Shared::<[u64]>::from_fn(100_000, |i| i as u64).expect("sharing");
        let process = mp::spawn!(look, model.clone(), numbers).expect("spawning");
        let seen = process.join().expect("it ends");
        assert_eq!(seen, (vec![3.0, 28.0], 48, 4_999_950_000, 0));
        assert_eq!(model.name, "small");
    });
}

#[mp::process_fn]
fn make(length: usize) -> Shared<[u8]> {
    Shared::zeroed_with(length, |bytes| bytes.fill(7)).expect("sharing")
}

#[mp::test]
fn it_outlives_its_maker() {
    alone(|| {
        let made = mp::spawn!(make, 3 * MEGABYTE)
            .expect("spawning")
            .join()
            .expect("it ends");
        assert_eq!(made.len(), 3 * MEGABYTE);
        assert!(made.iter().all(|byte| *byte == 7));
    });
}

#[mp::test]
fn a_message_of_it_is_small_and_keeps_it() {
    alone(|| {
        let queue = mp::Queue::new().expect("making a queue");
        let shared = Shared::from_slice(&vec![5_u8; 10 * MEGABYTE]).expect("sharing");
        let before = stats().used;
        for _ in 0..100 {
            queue.put(vec![shared.clone()]).expect("putting");
        }
        assert!(stats().used < before + MEGABYTE as u64);
        drop(shared);
        assert!(stats().used > 10 * MEGABYTE as u64);
        for _ in 0..100 {
            let got = queue.get().expect("getting").remove(0);
            assert_eq!((got.len(), got[10 * MEGABYTE - 1]), (10 * MEGABYTE, 5));
        }
        assert!(stats().used < 10 * MEGABYTE as u64);
    });
}

#[mp::process_fn]
fn lengths(empty: Shared<[u16]>, nothing: Shared<[()]>, unit: Shared<()>) -> (usize, usize) {
    assert_eq!(*unit, ());
    (empty.len(), nothing.len())
}

#[mp::test]
fn it_may_be_empty_and_items_may_have_no_size() {
    alone(|| {
        let empty = Shared::<[u16]>::from_slice(&[]).expect("sharing");
        assert_eq!(*empty, [0_u16; 0]);
        let nothing = Shared::from_slice(&[(); 1000]).expect("sharing");
        let unit = Shared::new(()).expect("sharing");
        let process = mp::spawn!(lengths, empty, nothing, unit).expect("spawning");
        assert_eq!(process.join().expect("it ends"), (0, 1000));
    });
}

#[mp::test]
fn what_is_too_long_is_refused() {
    alone(|| {
        for length in [1 << 40, usize::MAX / 8, usize::MAX / 4, usize::MAX] {
            let refused = Shared::<[u64]>::zeroed_with(length, |_| unreachable!("there is none"));
            assert!(
                matches!(refused, Err(Error::OutOfMemory { .. })),
                "{length}: {refused:?}"
            );
        }
    });
}

/// Numbers that tell each place from each other.
fn pattern(length: usize, salt: u64) -> Vec<u64> {
    (0..length as u64)
        .map(|n| (n ^ salt).wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .collect()
}

#[mp::test]
fn it_is_right_in_memory_that_was_used_was_not_and_was_in_part() {
    alone(|| {
        let mut random = Random::new();
        let mut kept = Vec::new();
        for round in 0..120 {
            let length = 1 + random.below(600_000) as usize;
            let items = pattern(length, round);
            let shared = match random.below(4) {
                0 => Shared::from_slice(&items),
                1 => Shared::from_iter(items.iter().copied()),
                2 => Shared::from_fn(length, |i| items[i]),
                _ => Shared::zeroed_with(length, |place| {
                    assert!(place.iter().all(|item| *item == 0), "round {round}");
                    place.copy_from_slice(&items);
                }),
            }
            .expect("sharing");
            let array = Array::from_slice(&items[length / 2..]).expect("making an array");
            kept.push((shared, array, items));
            if random.below(3) > 0 {
                kept.swap_remove(random.below(kept.len() as u64) as usize);
            }
            for (shared, array, items) in &kept {
                assert!(**shared == items[..], "round {round}");
                let half = array.lock().expect("it is free");
                assert!(half[..] == items[items.len() / 2..], "round {round}");
            }
        }
    });
}

/// The shared memory that this process has mapped pages of, in bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("reading the status");
    let line = status.lines().find(|line| line.starts_with("RssShmem:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    1024 * kilobytes
        .expect("the kernel tells")
        .parse::<usize>()
        .expect("a number")
}

#[mp::test]
fn fresh_memory_is_not_touched_page_by_page() {
    alone(|| {
        let before = resident();
        let items = vec![7_u64; 4 * MEGABYTE];
        let _copy = Shared::from_slice(&items).expect("sharing");
        let _made = Shared::from_fn(4 * MEGABYTE, |i| i).expect("sharing");
        assert!(resident() < before + MEGABYTE);
        let zeroes = Array::<u64>::zeroed(8 * MEGABYTE).expect("making an array");
        assert!(resident() < before + MEGABYTE);
        zeroes.lock().expect("it is free").fill(1);
        assert!(resident() > before + 60 * MEGABYTE, "it can be seen");
    });
}

#[mp::process_fn]
fn share_under_a_limit() -> u64 {
    let limit = Rlimit {
        current: Some(1000),
        maximum: None,
    };
    setrlimit(Resource::Fsize, limit).expect("limiting files");
    let items = pattern(MEGABYTE, 0);
    let shared = Shared::from_slice(&items).expect("sharing");
    assert!(*shared == items[..]);
    shared[1]
}

#[mp::test]
fn a_limit_of_files_is_none_of_memory() {
    alone(|| {
        let process = mp::spawn!(share_under_a_limit).expect("spawning");
        assert_eq!(process.join().expect("it is not killed"), pattern(2, 0)[1]);
    });
}

/// Runs what panics, and returns its message.
#[track_caller]
fn panics<R>(run: impl FnOnce() -> R) -> String {
    let Err(panic) = catch_unwind(AssertUnwindSafe(run)) else {
        panic!("it does not panic");
    };
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .expect("a text")
}

#[mp::test]
fn a_panic_while_it_is_made_leaves_nothing() {
    alone(|| {
        let before = stats();
        for length in [10, MEGABYTE] {
            let item = |i| if i == 5 { panic!("no") } else { i as u64 };
            assert_eq!(panics(|| Shared::from_fn(length, item)), "no");
            assert_eq!(stats(), before);
            assert_eq!(panics(|| Shared::from_iter((0..10).map(item))), "no");
            assert_eq!(stats(), before);
            let write = |_: &mut [u64]| panic!("no");
            assert_eq!(panics(|| Shared::zeroed_with(length, write)), "no");
            assert_eq!(stats(), before);
        }
    });
}

/// Says that it has three items.
struct Three(std::vec::IntoIter<u8>);

impl Iterator for Three {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (3, Some(3))
    }
}

impl ExactSizeIterator for Three {}

#[mp::test]
fn an_iterator_that_lies_is_not_believed() {
    alone(|| {
        let message = panics(|| Shared::from_iter(Three(vec![1, 2].into_iter())));
        assert!(
            message.contains("has 3 items, and ended after 2"),
            "{message}"
        );
        let long = Shared::from_iter(Three(vec![1, 2, 3, 4].into_iter())).expect("sharing");
        assert_eq!(*long, [1, 2, 3]);
    });
}

#[mp::test]
fn it_shows_and_compares_its_content() {
    alone(|| {
        let shared = Shared::from_slice(&[1, 2]).expect("sharing");
        assert_eq!(format!("{shared:?}"), "Shared([1, 2])");
        assert_eq!(shared, Shared::from_iter([1, 2]).expect("sharing"));
        assert_ne!(shared, Shared::from_slice(&[1, 3]).expect("sharing"));
        assert_eq!(shared.as_ref(), [1, 2]);
        assert_eq!((&shared).into_iter().sum::<i32>(), 3);
        let one = Shared::new(5).expect("sharing");
        assert_eq!(format!("{one:?}"), "Shared(5)");
        assert_eq!(*one.clone(), 5);
    });
}

/// Makes one after the other in all ways, reads what others made, and passes on its own.
#[mp::process_fn]
fn share_on_and_on(queue: mp::Queue<Shared<[u64]>>, seed: u64) {
    for round in seed.. {
        let length = [10, 1000, 2 * MEGABYTE / 8][round as usize % 3];
        let shared = match round % 4 {
            0 => Shared::from_slice(&vec![round; length]),
            1 => Shared::from_fn(length, |_| round),
            2 => Shared::zeroed_with(length, |items| items.fill(round)),
            _ => Shared::from_iter(std::iter::repeat_n(round, length)),
        };
        queue.put(shared.expect("sharing")).expect("putting");
        let other = queue.get().expect("getting");
        assert!(other.iter().all(|item| *item == other[0]));
    }
}

#[mp::test]
fn makers_and_readers_that_are_killed_leave_nothing() {
    alone(|| {
        let mut random = Random::new();
        let queue = mp::Queue::new().expect("making a queue");
        // So that nobody waits for what somebody took who was killed.
        for _ in 0..kills() + 10 {
            let item = Shared::from_slice(&[1_u64, 1]).expect("sharing");
            queue.put(item).expect("putting");
        }
        let mut start = |round: u64| {
            mp::spawn!(share_on_and_on, queue.clone(), round * 1000).expect("spawning")
        };
        let mut victims: Vec<_> = (0..2).map(&mut start).collect();
        for round in 0..u64::from(kills()) {
            random.moment();
            kill(victims.swap_remove(random.below(2) as usize));
            victims.push(start(round));
        }
        victims.into_iter().for_each(kill);
        while let Ok(left) = queue.try_get() {
            assert!(left.iter().all(|item| *item == left[0]));
        }
    });
}
