//! One suite for all start methods.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::{Command, ExitCode};
use std::{env, fs};

use libtest_mimic::{Arguments, Trial};
use mp::{Builder, ProcessError, ProcessFn, StartMethod};

use crate::leaks::{Census, files, no_more_files_than, nothing};
use crate::program;

/// Makes a test of each function for each start method, which it gets, and one of each function after `once:`, which knows
/// itself which methods it tries.
///
/// `methods! { for_each_method, …; once: a_test, … }`
///
/// The body of a test is a program's: it runs on the main thread, and there is no other one, because a process of more than
/// one thread cannot be copied. So the file has a `main` and no test harness of the compiler, where each test is a thread:
/// `harness = false` in `Cargo.toml`. The program may not keep a child, a descriptor or anything in shared memory, and no
/// process may outlive it.
#[macro_export]
macro_rules! methods {
    ($($each:ident),* $(,)? $(; once: $($once:ident),* $(,)?)?) => {
        #[mp::main]
        fn main() -> std::process::ExitCode {
            use $crate::methods::Body;
            $crate::methods::main(&[
                $((stringify!($each), Body::Each($each)),)*
                $($((stringify!($once), Body::Once($once)),)*)?
            ])
        }
    };
}

/// What a test does.
#[derive(Clone, Copy)]
pub enum Body {
    /// The same by each method.
    Each(fn(StartMethod)),
    Once(fn()),
}

/// The argument before the name of a test whose body is to be run.
const RUN: &str = "--run-body";

/// What is printed when a body has come to its end, which is more than that its program ended well.
const ENDED: &str = "the body has ended";

/// The `main` of a file of tests: the harness, or the body of a test.
pub fn main(tests: &[(&'static str, Body)]) -> ExitCode {
    let mut words = env::args();
    if words.nth(1).as_deref() == Some(RUN) {
        let test = words.next().expect("the test has a name");
        run(tests, &test);
        println!("{ENDED}");
        return ExitCode::SUCCESS;
    }
    let names = tests.iter().flat_map(|(name, body)| match body {
        Body::Each(_) => available()
            .iter()
            .map(|method| format!("{method}::{name}"))
            .collect(),
        Body::Once(_) => vec![format!("once::{name}")],
    });
    let trial = |name: String| {
        let test = name.clone();
        Trial::test(name, move || {
            ends_well(&test);
            Ok(())
        })
    };
    libtest_mimic::run(&Arguments::from_args(), names.map(trial).collect()).exit_code()
}

/// Runs the body of a test in this process.
fn run(tests: &[(&'static str, Body)], test: &str) {
    let (method, name) = test.split_once("::").expect("the test has a method");
    let known = tests.iter().find(|(known, _)| *known == name);
    match known.expect("there is such a test").1 {
        Body::Each(body) => leaves_nothing(|| body(named(method)), Census::clone),
        Body::Once(body) => leaves_nothing(body, |census| {
            (
                census.children.len(),
                census.descriptors.len(),
                census.arena,
            )
        }),
    }
}

/// Runs the body of a test, and compares a part of what is there before and after it.
pub fn leaves_nothing<T: PartialEq + Debug>(body: impl FnOnce(), part: fn(&Census) -> T) {
    assert_eq!(threads(), 1, "who copies a process has one thread");
    // What is made once, at the first use.
    for method in available() {
        value::<nothing>(method, ());
    }
    let (files, before) = (files(), part(&Census::take()));
    let body = catch_unwind(AssertUnwindSafe(body));
    if let Err(panic) = body {
        // They may wait for what a body that failed does not do any more, and this process would join them.
        for child in mp::active_children() {
            let _ = child.kill();
        }
        resume_unwind(panic);
    }
    let after = part(&Census::take());
    assert_eq!(
        after, before,
        "left: what is there, right: what was there before"
    );
    no_more_files_than(&files);
}

/// Runs the body of a test in a program of its own.
#[track_caller]
pub fn ends_well(test: &str) {
    let binary = env::current_exe().expect("a test is in a binary");
    let ended = program::run(
        Command::new(binary)
            .args([RUN, test])
            // Looked at once by the standard library, and a copy has what its original saw.
            .env_remove("RUST_BACKTRACE"),
    );
    let stdout = ended.nothing_left().success();
    assert!(stdout.contains(ENDED), "it did not come to its end");
}

/// The methods that there are.
pub fn available() -> Vec<StartMethod> {
    StartMethod::available().to_vec()
}

/// Each pair of methods.
pub fn pairs() -> Vec<[StartMethod; 2]> {
    let pairs = |first| available().into_iter().map(move |second| [first, second]);
    available().into_iter().flat_map(pairs).collect()
}

/// The method of a name.
pub fn named(name: &str) -> StartMethod {
    let mut all = available().into_iter();
    all.find(|method| method.name() == name)
        .expect("a method has the name")
}

/// What starts by a method.
pub fn by(method: StartMethod) -> Builder {
    Builder::new().start_method(method)
}

/// Starts a function by a method.
#[track_caller]
pub fn start<F: ProcessFn>(method: StartMethod, args: F::Args<'_>) -> mp::Process<F::Output> {
    match by(method).spawn::<F>(args) {
        Ok(process) => process,
        Err(error) => panic!("starting by {method}: {error}"),
    }
}

/// What becomes of a function that is started by a method.
#[track_caller]
pub fn outcome<F: ProcessFn>(
    method: StartMethod,
    args: F::Args<'_>,
) -> Result<F::Output, ProcessError> {
    start::<F>(method, args).join()
}

/// What a function returns that is started by a method.
#[track_caller]
pub fn value<F: ProcessFn>(method: StartMethod, args: F::Args<'_>) -> F::Output {
    match outcome::<F>(method, args) {
        Ok(value) => value,
        Err(error) => panic!("by {method}: {error}"),
    }
}

/// How a function fails that is started by a method.
#[track_caller]
pub fn failure<F: ProcessFn>(method: StartMethod, args: F::Args<'_>) -> ProcessError {
    match outcome::<F>(method, args) {
        Ok(_) => panic!("by {method}: it returned"),
        Err(error) => error,
    }
}

/// How many threads this process has.
pub fn threads() -> usize {
    fs::read_dir("/proc/self/task")
        .expect("listing threads")
        .count()
}
