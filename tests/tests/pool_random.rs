//! Pools under programs that do anything at any time: what goes in comes out, and once.

mod common_shm;

use std::cell::Cell;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use common_shm::Random;
use mp::{OnError, Pool, Task, TaskError};
use multiproc_tests::engines;
use multiproc_tests::pools::{Engine, all, gives_back, no_tenths, square};

engines! {
    anything_at_any_time,
    anything_at_any_time_from_many_threads,
    anything_at_any_time_with_workers_that_come_and_go
}

/// What a program holds, and how many items it has given.
struct Program<'p> {
    pool: &'p Pool,
    random: Random,
    tasks: Vec<(Task<u64>, u64)>,
    maps: Vec<(Task<Vec<u64>>, Range<u64>)>,
    given: &'p AtomicU64,
}

impl<'p> Program<'p> {
    fn new(pool: &'p Pool, given: &'p AtomicU64) -> Self {
        Self {
            pool,
            random: Random::new(),
            tasks: Vec::new(),
            maps: Vec::new(),
            given,
        }
    }

    /// Some numbers to square, counted as given.
    fn numbers(&mut self) -> Range<u64> {
        let from = self.random.below(1000);
        let range = from..from + self.random.below(300);
        self.given
            .fetch_add(range.end - range.start, Ordering::Relaxed);
        range
    }

    fn run(mut self, steps: u32) {
        for _ in 0..steps {
            self.step();
        }
        for (task, n) in self.tasks {
            check(&task, n);
        }
        for (task, range) in self.maps {
            check_many(&task, range);
        }
    }

    fn step(&mut self) {
        match self.random.below(13) {
            0..3 => {
                let n = self.random.below(1000);
                self.given.fetch_add(1, Ordering::Relaxed);
                self.tasks
                    .push((self.pool.submit::<square>(n).expect("submit"), n));
            }
            3 => {
                let range = self.numbers();
                let task = self
                    .pool
                    .map_async::<square>(range.clone())
                    .expect("map_async");
                self.maps.push((task, range));
            }
            4 => {
                let range = self.numbers();
                let squares = self.pool.map::<square>(range.clone()).expect("map");
                assert!(squares.into_iter().eq(range.map(|n| n * n)));
            }
            5 => self.iterate_partly(),
            6 => {
                let range = self.numbers();
                let mut squares = all(self.pool.imap_unordered::<square>(range.clone()));
                squares.sort_unstable();
                assert!(squares.into_iter().eq(range.map(|n| n * n)));
            }
            7 => self.cancel(),
            8 => {
                if let Some((task, n)) = take(&mut self.tasks, &mut self.random) {
                    check(&task, n);
                }
            }
            9 => {
                if let Some((task, range)) = take(&mut self.maps, &mut self.random) {
                    check_many(&task, range);
                }
            }
            10 => {
                drop(take(&mut self.tasks, &mut self.random));
                drop(take(&mut self.maps, &mut self.random));
            }
            11 => self.fail(),
            _ => self.random.moment(),
        }
    }

    fn iterate_partly(&mut self) {
        let given = Cell::new(0);
        let items = (0..).inspect(|_| given.set(given.get() + 1));
        let (window, chunk) = (
            1 + self.random.below(50) as usize,
            1 + self.random.below(20) as usize,
        );
        let taken = self.random.below(100) as usize;
        let job = self.pool.job::<square>().window(window).chunk_size(chunk);
        let squares = all(job.imap(items).take(taken));
        assert!(squares.into_iter().eq((0..taken as u64).map(|n| n * n)));
        self.given.fetch_add(given.get(), Ordering::Relaxed);
    }

    fn cancel(&mut self) {
        let random = &mut self.random;
        if random.below(2) == 0 {
            if let Some((task, n)) = take(&mut self.tasks, random) {
                let cancelled = task.cancel();
                match task.get() {
                    Err(TaskError::Cancelled) => assert!(cancelled),
                    // It had ended, or was about to.
                    result => assert_eq!(result.expect("nothing else happens to it"), n * n),
                }
            }
        } else if let Some((task, range)) = take(&mut self.maps, random) {
            let cancelled = task.cancel();
            match task.get() {
                Err(TaskError::Cancelled) => assert!(cancelled),
                result => {
                    let squares = result.expect("nothing else happens to it");
                    assert!(squares.into_iter().eq(range.map(|n| n * n)));
                }
            }
        }
    }

    /// Of twenty items, two fail.
    fn fail(&mut self) {
        let job = || self.pool.job::<no_tenths>();
        let given = match self.random.below(4) {
            0 => {
                assert!(matches!(job().map(0..20), Err(TaskError::Panicked(_))));
                20
            }
            1 => {
                assert!(matches!(
                    job().on_error(OnError::Continue).map(0..20),
                    Err(TaskError::Panicked(_))
                ));
                20
            }
            2 => {
                assert_eq!(job().imap(0..20).filter(Result::is_ok).count(), 18);
                20
            }
            _ => {
                assert!(matches!(job().apply(3), Err(TaskError::Panicked(_))));
                1
            }
        };
        self.given.fetch_add(given, Ordering::Relaxed);
    }
}

/// Takes any of them.
fn take<T>(from: &mut Vec<T>, random: &mut Random) -> Option<T> {
    (!from.is_empty()).then(|| from.swap_remove(random.below(from.len() as u64) as usize))
}

#[track_caller]
fn check(task: &Task<u64>, n: u64) {
    assert_eq!(task.get().expect("nobody cancelled it"), n * n);
}

#[track_caller]
fn check_many(task: &Task<Vec<u64>>, range: Range<u64>) {
    assert!(
        task.get()
            .expect("nobody cancelled it")
            .into_iter()
            .eq(range.map(|n| n * n))
    );
}

/// Closes the pool, and checks that all that was given to it is accounted for.
#[track_caller]
fn end(pool: &Pool, given: &AtomicU64) {
    pool.close();
    pool.join().expect("joining");
    let stats = pool.stats();
    assert_eq!((stats.pending, stats.running, stats.died), (0, 0, 0));
    assert_eq!(
        stats.succeeded + stats.failed + stats.cancelled,
        given.load(Ordering::Relaxed),
        "{stats:?}"
    );
}

fn anything_at_any_time(engine: Engine) {
    for workers in 1..=4 {
        let pool = engine.pool(workers);
        let before = mp::arena_stats().expect("the arena is there");
        let given = AtomicU64::new(0);
        Program::new(&pool, &given).run(300);
        given.fetch_add(gives_back(&pool, before), Ordering::Relaxed);
        end(&pool, &given);
    }
}

fn anything_at_any_time_from_many_threads(engine: Engine) {
    let pool = engine.pool(3);
    let given = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            let program = Program::new(&pool, &given);
            scope.spawn(move || program.run(200));
        }
    });
    end(&pool, &given);
}

fn anything_at_any_time_with_workers_that_come_and_go(engine: Engine) {
    let builder = engine
        .builder(3)
        .max_tasks_per_worker(50)
        .idle_timeout(Duration::from_millis(1));
    let pool = builder.build().expect("making a pool");
    let given = AtomicU64::new(0);
    thread::scope(|scope| {
        let programs = [(); 2].map(|()| {
            let program = Program::new(&pool, &given);
            scope.spawn(move || program.run(60))
        });
        for workers in (1..=4).cycle() {
            pool.resize(workers).expect("resizing");
            thread::sleep(Duration::from_millis(3));
            if programs.iter().all(|program| program.is_finished()) {
                break;
            }
        }
    });
    end(&pool, &given);
}
