//! A worker of a pool, or the process that has the pool, dies at each marked point of what it does.

mod common_harm;
mod common_shm;

use std::sync::atomic::Ordering;
use std::time::Duration;

use common_harm::{atomic, works};
use common_shm::stats;
use mp::{Pool, TaskError};
use multiproc_tests::leaks::alone;
use multiproc_tests::processes::{children, within};

/// Where who takes the only bullet dies.
type Bullet = (mp::Atomic<u64>, u64);

fn take(bullet: &Bullet) {
    if bullet.0.swap(0, Ordering::Relaxed) == 1 {
        mp::__private::die_at(bullet.1);
    }
}

fn loaded(point: u64) -> Bullet {
    let bullet = atomic();
    bullet.store(1, Ordering::Relaxed);
    (bullet, point)
}

#[mp::process_fn]
fn initialize(bullet: Option<Bullet>) {
    bullet.iter().for_each(take);
}

type Fruit = (u64, Vec<u8>, Option<mp::Value<u64>>);

/// Results lie in the message, beside it, and name objects.
#[mp::process_fn]
fn work(number: u64, ballast: Vec<u8>, bullet: Option<Bullet>) -> Fruit {
    bullet.iter().for_each(take);
    assert!(ballast.iter().all(|byte| *byte == number as u8));
    let value = number
        .is_multiple_of(3)
        .then(|| mp::Value::new(number).expect("making a value"));
    (number, ballast, value)
}

const ITEMS: u64 = 12;

fn items(bullet: Option<Bullet>) -> impl Iterator<Item = (u64, Vec<u8>, Option<Bullet>)> {
    (0..ITEMS).map(move |number| {
        let length = if number % 4 == 1 { 9000 } else { 3 };
        (
            number,
            vec![number as u8; length],
            bullet.clone().filter(|_| number == 2),
        )
    })
}

#[track_caller]
fn check((number, ballast, value): Fruit, expected: u64) {
    assert_eq!(number, expected);
    assert!(ballast.len() >= 3 && ballast.iter().all(|byte| *byte == number as u8));
    let value = value.map(|value| value.get().expect("nobody locks it"));
    assert_eq!(value, number.is_multiple_of(3).then_some(number));
}

/// Calls a function of [`work`] in one of the forms.
type Call = fn(&Pool, Option<Bullet>);

fn map(pool: &Pool, bullet: Option<Bullet>) {
    let fruits = pool
        .map::<work>(items(bullet))
        .expect("they are tried again");
    assert_eq!(fruits.len() as u64, ITEMS);
    (0..)
        .zip(fruits)
        .for_each(|(number, fruit)| check(fruit, number));
}

fn imap(pool: &Pool, bullet: Option<Bullet>) {
    let mut fruits = pool.job::<work>().window(5).imap(items(bullet));
    for number in 0..ITEMS {
        let fruit = fruits.next().expect("one for each");
        check(fruit.expect("it is tried again"), number);
    }
    assert!(fruits.next().is_none());
}

fn imap_unordered(pool: &Pool, bullet: Option<Bullet>) {
    let mut numbers: Vec<_> = pool
        .job::<work>()
        .chunk_size(3)
        .imap_unordered(items(bullet))
        .map(|fruit| {
            let fruit = fruit.expect("it is tried again");
            let number = fruit.0;
            check(fruit, number);
            number
        })
        .collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..ITEMS));
}

fn submit(pool: &Pool, bullet: Option<Bullet>) {
    let tasks: Vec<_> = items(bullet)
        .map(|item| pool.submit::<work>(item).expect("submitting"))
        .collect();
    for (number, task) in (0..).zip(tasks) {
        check(task.get().expect("it is tried again"), number);
    }
}

fn apply(pool: &Pool, bullet: Option<Bullet>) {
    for (number, item) in (0..).zip(items(bullet)) {
        check(pool.apply::<work>(item).expect("it is tried again"), number);
    }
}

/// The number of steps without a death after which no point is left.
const CALM: u32 = 3;

fn die_in_tasks(call: Call) {
    let pool = Pool::builder().workers(2).retries(100).build();
    let pool = pool.expect("making a pool");
    let (mut deaths, mut calm) = (0, 0);
    for point in 1.. {
        let died = pool.stats().died;
        call(&pool, Some(loaded(point)));
        // Who took the bullet passes more points with the next ones.
        for _ in 0..10 {
            if pool.stats().died == died {
                call(&pool, None);
            }
        }
        if pool.stats().died > died {
            (deaths, calm) = (deaths + 1, 0);
        } else {
            calm += 1;
        }
        if calm == CALM || point == 150 {
            break;
        }
    }
    eprintln!("{deaths} deaths");
    assert!(deaths > 5, "only {deaths} points were passed");
    works(&pool);
}

/// Dies in the first moments of a worker, and in its last ones.
fn die_from_the_beginning(end: fn(Pool)) {
    let mut deaths = 0;
    for point in 1..=60 {
        let builder = Pool::builder()
            .workers(2)
            .retries(100)
            .max_tasks_per_worker(5);
        let pool = builder
            .initializer::<initialize>(Some(loaded(point)))
            .build();
        match pool {
            Ok(pool) => {
                map(&pool, None);
                deaths += pool.stats().died;
                end(pool);
            }
            // A death in an initializer is that of the pool.
            Err(mp::Error::PoolBroken { .. }) => deaths += 1,
            Err(error) => panic!("at point {point}: {error}"),
        }
        assert_eq!(children(), [], "at point {point}");
    }
    eprintln!("{deaths} deaths");
    assert!(deaths > 5, "only {deaths} points were passed");
}

fn close_and_join(pool: Pool) {
    pool.close();
    pool.join().expect("it is closed");
}

macro_rules! tests {
    ($($name:ident: $run:expr;)*) => {$(
        #[mp::test]
        fn $name() {
            alone(|| $run);
        }
    )*};
}

tests! {
    workers_of_a_map: die_in_tasks(map);
    workers_of_an_imap: die_in_tasks(imap);
    workers_of_an_imap_unordered: die_in_tasks(imap_unordered);
    workers_with_submitted_tasks: die_in_tasks(submit);
    workers_with_applied_tasks: die_in_tasks(apply);
    workers_that_begin_and_are_joined: die_from_the_beginning(close_and_join);
    workers_that_begin_and_are_dropped: die_from_the_beginning(drop);
    a_parent_that_maps: parent_dies(0, 3);
    a_parent_that_uses_iterators: parent_dies(1, 5);
    a_parent_that_submits: parent_dies(2, 5);
    a_parent_that_changes_its_pool: parent_dies(3, 5);
}

// The process that has the pool.

const SCRIPTS: [fn(&Pool); 4] = [
    |pool| map(pool, None),
    |pool| {
        imap(pool, None);
        drop(pool.imap::<work>(items(None)).next());
        imap_unordered(pool, None);
    },
    |pool| {
        submit(pool, None);
        apply(pool, None);
        let task = pool.submit::<work>((1, vec![1], None)).expect("submitting");
        task.cancel();
        drop(pool.map_async::<work>(items(None)));
    },
    |pool| {
        pool.resize(3).expect("resizing");
        map(pool, None);
        pool.resize(1).expect("resizing");
        assert!(matches!(
            pool.apply::<abort>(()),
            Err(TaskError::WorkerDied { .. })
        ));
        map(pool, None);
        pool.close();
        pool.join().expect("it is closed");
    },
];

#[mp::process_fn]
fn abort() {
    std::process::abort();
}

#[mp::process_fn]
fn have_a_pool(script: usize, die_at: u64) {
    mp::__private::die_at(die_at);
    let pool = Pool::new(2).expect("making a pool");
    SCRIPTS[script](&pool);
    drop(pool);
    mp::__private::die_at(0);
}

/// Kills a parent at every `step`-th point: its workers are gone, too, and what was shared.
fn parent_dies(script: usize, step: usize) {
    let before = stats();
    let mut deaths = 0;
    for point in (1..).step_by(step) {
        let process = mp::spawn!(have_a_pool, script, point).expect("spawning");
        match process.join() {
            Ok(()) => break,
            Err(mp::ProcessError::Signaled { signal: 9, .. }) => deaths += 1,
            Err(error) => panic!("at point {point}: {error}"),
        }
        check_swept(&before, point);
    }
    eprintln!("{deaths} deaths");
    assert!(deaths > 5, "only {deaths} points were passed");
}

/// Nothing is left in the shared memory once the workers are gone, too.
#[track_caller]
fn check_swept(before: &mp::ArenaStats, point: u64) {
    let swept = || (stats() == *before).then_some(());
    let soon = within(Duration::from_secs(20), swept);
    assert!(
        soon.is_some(),
        "at point {point}: {:?}, before {before:?}",
        stats()
    );
}
