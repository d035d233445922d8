//! Every small example prints what it should, and ends well.

mod common;

use std::process::Command;

use common::{Running, run};

/// The lines of a text in alphabetical order, for programs whose processes print in any order.
fn sorted_lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn greeting() {
    let output = run(&mut Command::new(env!("CARGO_BIN_EXE_greeting"))).success();
    assert_eq!(
        output,
        "the parent starts a child\nhello bob\nthe child has ended\n"
    );
}

#[test]
fn squares_and_evens() {
    let output = run(&mut Command::new(env!("CARGO_BIN_EXE_squares_and_evens"))).success();
    assert_eq!(
        output,
        "squares: [1, 4, 9, 16, 25, 36, 49, 64, 81, 100]\nevens: [2, 4, 6, 8, 10]\n"
    );
}

#[test]
fn queue() {
    let output = run(&mut Command::new(env!("CARGO_BIN_EXE_queue"))).success();
    let of = |name: &str| {
        output
            .lines()
            .filter(|line| line.starts_with(name))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        of("alice"),
        [
            "alice has done step 1 of 3",
            "alice has done step 2 of 3",
            "alice has done step 3 of 3"
        ]
    );
    assert_eq!(
        of("bob"),
        ["bob has done step 1 of 2", "bob has done step 2 of 2"]
    );
    assert_eq!(output.lines().count(), 5, "{output}");
}

#[test]
fn pipe() {
    let output = run(&mut Command::new(env!("CARGO_BIN_EXE_pipe"))).success();
    assert_eq!(
        output,
        "\"a\" has 1 bytes\n\"request\" has 7 bytes\n\"and its reply\" has 13 bytes\n\
         the child saw that the pipe is closed\n"
    );
}

#[test]
fn printing_lock() {
    let output = run(&mut Command::new(env!("CARGO_BIN_EXE_printing_lock"))).success();
    let whole: Vec<_> = (0..10)
        .map(|number| format!("child {number} begins this line and child {number} ends it"))
        .collect();
    assert_eq!(sorted_lines(&output), whole);
}

#[test]
fn shared_sum() {
    let output = run(&mut Command::new(env!("CARGO_BIN_EXE_shared_sum"))).success();
    assert_eq!(output, "6.0\n");
}

#[test]
fn matrix() {
    let output = run(&mut Command::new(env!("CARGO_BIN_EXE_matrix"))).success();
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(
        lines,
        [
            "100 MB: 2500 rows of 5000 columns",
            "rows 0..625: 4882810937500",
            "rows 625..1250: 14648435937500",
            "rows 1250..1875: 24414060937500",
            "rows 1875..2500: 34179685937500",
            "in all: 78124993750000",
        ]
    );
}

#[test]
fn counter() {
    let output = run(&mut Command::new(env!("CARGO_BIN_EXE_counter"))).success();
    assert_eq!(output, "10000\n");
}

/// `run` reads the output when the program ends, so the worker's line is there only if the program has waited for it,
/// and it returns only when all processes have ended, the daemon too.
#[test]
fn daemon() {
    let output = run(&mut Command::new(env!("CARGO_BIN_EXE_daemon"))).success();
    assert_eq!(
        output,
        "tick 1\ntick 2\ntick 3\nmain has nothing left to do\nthe worker has done its work\n"
    );
}

#[test]
fn panic() {
    let run = run(&mut Command::new(env!("CARGO_BIN_EXE_panic")));
    let line = 1 + include_str!("../panic.rs")
        .lines()
        .position(|line| line.contains("dividend / divisor"))
        .expect("the line that panics");
    let file = file!().replace("tests/output.rs", "panic.rs");
    assert_eq!(
        run.stdout,
        format!(
            "the quotient is 42\nthe child panicked at {file}:{line}:5: attempt to divide by zero\n"
        )
    );
    assert!(run.status.success(), "{}", run.status);
}

#[test]
fn killed() {
    let output = run(&mut Command::new(env!("CARGO_BIN_EXE_killed"))).success();
    assert_eq!(output, "killed by signal 15\n");
}

#[test]
fn pool() {
    let run = run(&mut Command::new(env!("CARGO_BIN_EXE_pool")));
    assert_eq!(
        run.stdout,
        "squares: [1, 4, 9, 16, 25, 36, 49, 64, 81, 100]\n\
         the quotient is 42\nno quotient: attempt to divide by zero\nthe quotient is 21\n\
         the task is in the pool\nits value is 144\n"
    );
    assert!(run.status.success(), "{}", run.status);
}

#[test]
fn progress_without_a_terminal_is_silent() {
    let output = run(&mut Command::new(env!("CARGO_BIN_EXE_progress"))).success();
    assert_eq!(output, "41538 prime numbers below half a million\n");
}

#[test]
fn progress_on_a_terminal_knows_how_many_parts_there_are() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_progress"));
    let run = Running::start_on_terminal(&mut program).finish();
    assert_eq!(run.stdout, "41538 prime numbers below half a million\n");
    assert!(run.stderr.contains("/200"), "{:?}", run.stderr);
    assert!(run.status.success(), "{}", run.status);
}

#[test]
fn pool_matrix() {
    let output = run(&mut Command::new(env!("CARGO_BIN_EXE_pool_matrix"))).success();
    let item = |row: usize, column: usize| {
        (0..200)
            .map(|inner| (row * 200 + inner) % 7 * ((inner * 300 + column) % 11))
            .sum::<usize>()
    };
    let sum: usize = (0..500 * 300)
        .map(|place| item(place / 300, place % 300))
        .sum();
    assert_eq!(
        output,
        format!(
            "8 blocks of rows\nthe sum of the product: {sum}\nthe same as without a pool: true\n"
        )
    );
}

#[test]
fn scrape() {
    let output = run(&mut Command::new(env!("CARGO_BIN_EXE_scrape"))).success();
    assert_eq!(
        output,
        "/: Welcome\n/news: The news of today\n/missing: error: http status: 404\n\
         /untitled: error: the page has no title\n/about: About us\n"
    );
}

#[test]
fn deadlines() {
    let output = run(&mut Command::new(env!("CARGO_BIN_EXE_deadlines"))).success();
    assert_eq!(
        output,
        "91: 7\n170141183460469231731687303715884105727: not within 5s\n7919: 7919\n\
         162259276829213363391578010288127: not within 5s\n1000001: 101\n"
    );
}

/// The last words of a worker come twice: in the task's error, and relayed to standard error.
#[test]
fn crashing_c() {
    let run = run(&mut Command::new(env!("CARGO_BIN_EXE_crashing_c")));
    // Where the system is told to keep images of crashed processes, a status mentions it.
    assert_eq!(
        run.stdout.replace(" (core dumped)", ""),
        "\"width = 80\": 80\n\
         \"wide\": the worker died, signal: 11 (SIGSEGV)\n\
         \"height = 24\": 24\n\
         \"depth = deep\": the worker died, signal: 6 (SIGABRT)\n    \
         its last words: setting: no number in \"depth = deep\"\n\
         \"indent = 4\": 4\n"
    );
    assert!(
        run.stderr
            .contains("setting: no number in \"depth = deep\"\n"),
        "{}",
        run.stderr
    );
    assert!(run.status.success(), "{}", run.status);
}
