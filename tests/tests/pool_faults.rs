//! Tasks that go wrong in each manner, at each hop of their way, by each form of call: an error in its place, all other
//! results delivered, the pool usable afterwards, nothing left.

mod common_harm;
mod common_shm;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use common_harm::{How, SAID, get, works};
use mp::{OnError, Pool, TaskError};
use multiproc_tests::leaks::alone;
use multiproc_tests::processes::eventually;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Where it goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Hop {
    ArgumentEncode,
    ArgumentDecode,
    Run,
    ResultEncode,
    ResultDecode,
}

type Harm = (Hop, How);

/// What travels there and back.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Cargo {
    harm: Option<Harm>,
    number: u64,
    ballast: Vec<u8>,
    /// How many tasks have run.
    ran: mp::Atomic<u64>,
    /// Made by the task.
    value: Option<mp::Value<u64>>,
}

impl Cargo {
    /// Some are small, some lie beside the message.
    fn new(number: u64, harm: Option<Harm>, ran: &mp::Atomic<u64>) -> Self {
        let length = if number % 5 == 1 { 9000 } else { number % 70 };
        Self {
            harm,
            number,
            ballast: vec![number as u8; length as usize],
            ran: ran.clone(),
            value: None,
        }
    }

    fn strike(&self, here: Hop) -> Result<(), &'static str> {
        match self.harm {
            Some((hop, how)) if hop == here => Err(how.strike()),
            _ => Ok(()),
        }
    }
}

/// Types that do harm when they are encoded and decoded.
macro_rules! traps {
    ($($name:ident: $encode:ident, $decode:ident;)*) => {$(
        #[derive(Debug)]
        struct $name(Cargo);

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.strike(Hop::$encode).map_err(S::Error::custom)?;
                self.0.serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                // The objects in it are there already.
                let cargo = Cargo::deserialize(deserializer)?;
                cargo.strike(Hop::$decode).map_err(D::Error::custom)?;
                Ok(Self(cargo))
            }
        }
    )*};
}

traps! {
    Argument: ArgumentEncode, ArgumentDecode;
    Fruit: ResultEncode, ResultDecode;
}

#[mp::process_fn]
fn work(argument: Argument) -> Result<Fruit, mp::RemoteError> {
    let mut cargo = argument.0;
    cargo.ran.fetch_add(1, Ordering::Relaxed);
    cargo.strike(Hop::Run).map_err(mp::RemoteError::msg)?;
    cargo.value = Some(mp::Value::new(cargo.number)?);
    Ok(Fruit(cargo))
}

type Given = Result<Result<Fruit, mp::RemoteError>, TaskError>;

/// Items, two of which go wrong.
struct Batch {
    harm: Harm,
    ran: mp::Atomic<u64>,
}

impl Batch {
    const ITEMS: u64 = 40;
    const BAD: [u64; 2] = [11, 30];

    fn new(hop: Hop, how: How) -> Self {
        Self {
            harm: (hop, how),
            ran: mp::Atomic::new(0).expect("making an atomic"),
        }
    }

    fn one(&self, number: u64) -> Argument {
        let harm = Self::BAD.contains(&number).then_some(self.harm);
        Argument(Cargo::new(number, harm, &self.ran))
    }

    fn all(&self) -> impl ExactSizeIterator<Item = Argument> {
        (0..Self::ITEMS as usize).map(|number| self.one(number as u64))
    }

    /// Checks what was given for an item, which is at `index` of its job, unless it was submitted by itself.
    #[track_caller]
    fn check(&self, number: u64, index: Option<u64>, given: Given) {
        if Self::BAD.contains(&number) {
            return self.check_bad(index, given);
        }
        let Ok(Ok(Fruit(cargo))) = given else {
            panic!("{:?}: item {number}: {given:?}", self.harm);
        };
        assert_eq!(cargo.number, number);
        let expected = Cargo::new(number, None, &self.ran);
        assert_eq!(cargo.ballast, expected.ballast);
        let value = cargo.value.expect("the task makes one");
        assert_eq!(value.get().expect("nobody locks it"), number);
    }

    #[track_caller]
    fn check_bad(&self, expected_index: Option<u64>, given: Given) {
        let (hop, how) = self.harm;
        let said = |text: &str| text.contains(SAID);
        let as_expected = match (&given, hop, how) {
            (Ok(Err(error)), Hop::Run, How::Error) => error.message() == SAID,
            (
                Err(TaskError::Encode { message, .. }),
                Hop::ArgumentEncode | Hop::ResultEncode,
                How::Error,
            ) => said(message),
            (
                Err(TaskError::Decode { message, .. }),
                Hop::ArgumentDecode | Hop::ResultDecode,
                How::Error,
            ) => said(message),
            (Err(TaskError::Panicked(panic)), _, How::Panic) => said(panic.message()),
            (
                Err(TaskError::WorkerDied {
                    status,
                    stderr,
                    worker,
                    function,
                    index,
                    attempt: 0,
                    pid,
                    ..
                }),
                Hop::ArgumentDecode | Hop::Run | Hop::ResultEncode,
                how,
            ) => {
                assert!(stderr.contains(how.last_words()), "{stderr:?}");
                assert!(worker.starts_with("PoolWorker-"), "{worker}");
                assert!(function.ends_with("work"), "{function}");
                assert!(
                    expected_index.is_none_or(|expected| *index == expected),
                    "{given:?}"
                );
                how.is_end(*status) && *pid != 0 && *pid != std::process::id()
            }
            _ => false,
        };
        assert!(as_expected, "{hop:?} {how:?}: {given:?}");
    }

    /// How many of the first `items` get to run, by themselves or by the next attempt.
    fn runs(&self) -> u64 {
        match self.harm.0 {
            Hop::ArgumentEncode | Hop::ArgumentDecode => Self::ITEMS - 2,
            Hop::Run | Hop::ResultEncode | Hop::ResultDecode => Self::ITEMS,
        }
    }

    #[track_caller]
    fn all_ran(&self) {
        assert_eq!(
            self.ran.load(Ordering::Relaxed),
            self.runs(),
            "{:?}",
            self.harm
        );
    }
}

/// A form of calling, with all checks.
type Form = fn(&Pool, &Batch);

fn apply(pool: &Pool, batch: &Batch) {
    for number in 0..Batch::ITEMS {
        batch.check(number, None, pool.apply::<work>(batch.one(number)));
    }
    batch.all_ran();
}

fn submit(pool: &Pool, batch: &Batch) {
    // An argument that cannot be encoded is an error of the task or of the call.
    let tasks: Vec<_> = batch.all().map(|item| pool.submit::<work>(item)).collect();
    for (number, task) in (0..).zip(tasks) {
        batch.check(number, None, get(task));
    }
    batch.all_ran();
}

/// The error is that of a bad item, whichever comes first; an `Err` is no error of the map.
fn check_map(batch: &Batch, given: Result<Vec<Result<Fruit, mp::RemoteError>>, TaskError>) {
    match given {
        Ok(all) => {
            assert_eq!(all.len() as u64, Batch::ITEMS);
            for (number, one) in (0..).zip(all) {
                batch.check(number, Some(number), Ok(one));
            }
        }
        Err(TaskError::WorkerDied { index: 30, .. }) => {
            batch.check_bad(Some(30), given.map(|_| unreachable!()));
        }
        Err(error) => batch.check_bad(Some(11), Err(error)),
    }
}

fn map(pool: &Pool, batch: &Batch) {
    check_map(batch, pool.map::<work>(batch.all()));
    // All chunks, so that what was not begun yet is begun behind the error.
    for chunk in [1, 7, 64] {
        let batch = Batch::new(batch.harm.0, batch.harm.1);
        let job = pool.job::<work>().chunk_size(chunk);
        check_map(&batch, job.on_error(OnError::FailFast).map(batch.all()));
        let ran = batch.ran.load(Ordering::Relaxed);
        assert!(ran <= batch.runs(), "{ran}");
    }
}

fn map_that_goes_on(pool: &Pool, batch: &Batch) {
    for chunk in [1, 7, 64] {
        let batch = Batch::new(batch.harm.0, batch.harm.1);
        let job = pool.job::<work>().chunk_size(chunk);
        check_map(&batch, job.on_error(OnError::Continue).map(batch.all()));
        batch.all_ran();
    }
}

fn map_async(pool: &Pool, batch: &Batch) {
    check_map(batch, get(pool.map_async::<work>(batch.all())));
}

fn imap(pool: &Pool, batch: &Batch) {
    for chunk in [None, Some(7)] {
        let batch = Batch::new(batch.harm.0, batch.harm.1);
        let job = pool.job::<work>();
        let job = match chunk {
            Some(chunk) => job.chunk_size(chunk),
            None => job,
        };
        let mut results = job.imap(batch.all());
        for number in 0..Batch::ITEMS {
            batch.check(
                number,
                Some(number),
                results.next().expect("one for each item"),
            );
        }
        assert!(results.next().is_none());
        batch.all_ran();
    }
}

fn imap_unordered(pool: &Pool, batch: &Batch) {
    let (mut good, mut bad) = (Vec::new(), 0);
    for given in pool.imap_unordered::<work>(batch.all()) {
        match given {
            Ok(Ok(Fruit(cargo))) => {
                good.push(cargo.number);
                batch.check(cargo.number, Some(cargo.number), Ok(Ok(Fruit(cargo))));
            }
            Err(TaskError::WorkerDied { index, .. }) => {
                assert!(Batch::BAD.contains(&index), "{given:?}");
                batch.check_bad(Some(index), given);
                bad += 1;
            }
            given => {
                batch.check_bad(None, given);
                bad += 1;
            }
        }
    }
    good.sort_unstable();
    let all_good = (0..Batch::ITEMS).filter(|number| !Batch::BAD.contains(number));
    assert_eq!(good, all_good.collect::<Vec<_>>());
    assert_eq!(bad, 2);
    batch.all_ran();
}

const FORMS: [Form; 7] = [
    apply,
    submit,
    map,
    map_that_goes_on,
    map_async,
    imap,
    imap_unordered,
];

/// What a pool tells when nothing is left to be done.
#[track_caller]
fn at_rest(pool: &Pool) -> mp::PoolStats {
    let at_rest = |stats: &mp::PoolStats| (stats.pending, stats.running) == (0, 0);
    let stats = eventually(|| Some(pool.stats()).filter(at_rest));
    stats.unwrap_or_else(|| panic!("it does not come to rest: {:?}", pool.stats()))
}

/// All forms with one pool.
fn in_each_form(pool: &Pool, hop: Hop, how: How) {
    for form in FORMS {
        form(pool, &Batch::new(hop, how));
        works(pool);
    }
    let full = || (pool.stats().workers.len() == 2).then_some(());
    assert!(eventually(full).is_some(), "the dead are replaced");
    let stats = at_rest(pool);
    assert_eq!(stats.retried, 0);
    assert_eq!(stats.died > 0, how.is_deadly(), "{}", stats.died);
}

fn cell(hop: Hop, how: How) {
    let pool = Pool::new(2).expect("making a pool");
    in_each_form(&pool, hop, how);
}

/// A test for each cell of the matrix: a hop, and a manner.
macro_rules! matrix {
    ($($at:ident = $hop:ident: $($name:ident = $how:expr),+;)*) => {$(
        mod $at {
            use super::*;
            $(
                #[mp::test]
                fn $name() {
                    alone(|| cell(Hop::$hop, $how));
                }
            )+
        }
    )*};
}

matrix! {
    argument_encode = ArgumentEncode: error = How::Error;
    argument_decode = ArgumentDecode: error = How::Error, panic = How::Panic, exit_0 = How::Exit(0), exit_7 = How::Exit(7), abort = How::Abort,
        kill = How::Kill, fault = How::Fault, overflow = How::Overflow, memory = How::Memory;
    run = Run: error = How::Error, panic = How::Panic, exit_0 = How::Exit(0), exit_7 = How::Exit(7), abort = How::Abort,
        kill = How::Kill, fault = How::Fault, overflow = How::Overflow, memory = How::Memory;
    result_encode = ResultEncode: error = How::Error, panic = How::Panic, exit_0 = How::Exit(0), exit_7 = How::Exit(7), abort = How::Abort,
        kill = How::Kill, fault = How::Fault, overflow = How::Overflow, memory = How::Memory;
    result_decode = ResultDecode: error = How::Error;
}

// What the caller's own types do while the caller encodes or decodes them is its own panic, as it is that of `spawn!`.

/// Tells whether it panicked, as it may.
fn panics<R>(call: impl FnOnce() -> R) -> Option<R> {
    let payload = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(value) => return Some(value),
        Err(payload) => payload,
    };
    let text = payload.downcast_ref::<String>().map(|text| &**text);
    assert_eq!(text.or(payload.downcast_ref().copied()), Some(SAID));
    None
}

/// Gives what each call gives, and a panic for the bad ones.
#[track_caller]
fn check_each(batch: &Batch, mut call: impl FnMut(Argument) -> Given) {
    for number in 0..Batch::ITEMS {
        match panics(|| call(batch.one(number))) {
            None => assert!(Batch::BAD.contains(&number), "{number}"),
            Some(given) => {
                assert!(!Batch::BAD.contains(&number), "{number}");
                batch.check(number, None, given);
            }
        }
    }
}

/// An iterator may end early by a panic, but it ends, and gives nothing that is wrong.
#[track_caller]
fn check_iterator(batch: &Batch, mut results: impl Iterator<Item = Given>) {
    let mut panicked = 0;
    for _ in 0..3 * Batch::ITEMS {
        match panics(|| results.next()) {
            None => panicked += 1,
            Some(Some(Ok(Ok(Fruit(cargo))))) => {
                batch.check(cargo.number, Some(cargo.number), Ok(Ok(Fruit(cargo))));
            }
            Some(Some(other)) => panic!("{other:?}"),
            Some(None) => {
                assert!(panicked > 0);
                return;
            }
        }
    }
    panic!("it does not end");
}

fn callers_panic(pool: &Pool, hop: Hop) {
    let batch = || Batch::new(hop, How::Panic);
    check_each(&batch(), |item| pool.apply::<work>(item));
    works(pool);
    check_each(&batch(), |item| get(pool.submit::<work>(item)));
    works(pool);
    for chunk in [1, 7, 64] {
        let job = || pool.job::<work>().chunk_size(chunk);
        assert!(panics(|| job().map(batch().all())).is_none());
        works(pool);
        assert!(panics(|| get(job().map_async(batch().all()))).is_none());
        works(pool);
        check_iterator(&batch(), job().imap(batch().all()));
        works(pool);
        check_iterator(&batch(), job().imap_unordered(batch().all()));
        works(pool);
    }
    let stats = at_rest(pool);
    assert_eq!(stats.died, 0);
}

#[mp::test]
fn a_panic_while_the_caller_encodes_an_argument_is_the_callers() {
    alone(|| callers_panic(&Pool::new(2).expect("making a pool"), Hop::ArgumentEncode));
}

#[mp::test]
fn a_panic_while_the_caller_decodes_a_value_is_the_callers() {
    alone(|| callers_panic(&Pool::new(2).expect("making a pool"), Hop::ResultDecode));
}

#[mp::test]
fn errors_and_panics_in_threads_are_those_of_processes() {
    alone(|| {
        for hop in [Hop::Run] {
            for how in [How::Error, How::Panic] {
                let pool = Pool::threads(2).expect("making a pool");
                for form in FORMS {
                    form(&pool, &Batch::new(hop, how));
                    works(&pool);
                }
            }
        }
    });
}
