//! Tests that start processes, under the test harness of Rust: it is the only one that speaks on standard output.
//!
//! The tests in `subjects` are run by the others, in processes of this same binary.

use std::process::Command;

use multiproc_tests::program::{Ended, run};
use multiproc_tests::watchdog::Watchdog;

mod subjects {
    use std::io::Write;
    use std::process::Command;

    use multiproc_tests::watchdog::Watchdog;

    /// Says things on the standard streams in several ways.
    #[mp::process_fn]
    fn say(words: &str) {
        println!("<child> {words} by println");
        eprintln!("<child> {words} by eprintln");
        let mut stdout = std::io::stdout();
        writeln!(stdout, "<child> {words} by write").unwrap();
        rustix::io::write(
            rustix::stdio::stdout(),
            format!("<child> {words} by the system\n").as_bytes(),
        )
        .unwrap();
        let status = Command::new("echo")
            .arg(format!("<child> {words} by a program"))
            .status();
        assert!(status.unwrap().success());
        // Without the end of the line, and without a flush.
        print!("<child> {words} by print");
        if !words.ends_with('.') {
            println!();
        }
    }

    /// How many lines [`say`] writes to standard output.
    pub const LINES: usize = 5;

    #[mp::process_fn]
    fn say_below(words: &str) {
        mp::spawn!(say, &format!("below {words}"))
            .unwrap()
            .join()
            .unwrap();
    }

    #[mp::process_fn]
    fn say_nothing() {}

    #[mp::process_fn]
    fn panic() {
        panic!("in a child");
    }

    /// The arguments of this process, which name the test that it is a child of.
    #[mp::process_fn]
    fn arguments() -> Vec<String> {
        std::env::args().collect()
    }

    #[mp::test]
    fn children_speak() {
        let _watchdog = Watchdog::new();
        mp::spawn!(say, "one").unwrap().join().unwrap();
        mp::spawn!(say_below, "two").unwrap().join().unwrap();
        let builder = mp::Builder::new().stdin(std::process::Stdio::null());
        builder.spawn::<say>("three").unwrap().join().unwrap();
    }

    #[mp::test]
    fn children_say_nothing() {
        let _watchdog = Watchdog::new();
        for stdio in [mp::Stdio::inherit, mp::Stdio::null, mp::Stdio::piped] {
            let builder = mp::Builder::new().stdin(stdio());
            builder.spawn::<say_nothing>(()).unwrap().join().unwrap();
        }
    }

    #[mp::test]
    fn children_speak_into_pipes() {
        let _watchdog = Watchdog::new();
        for stdout in [mp::Stdio::piped, || std::process::Stdio::piped().into()] {
            let builder = mp::Builder::new()
                .stdout(stdout())
                .stderr(mp::Stdio::null());
            let process = builder.spawn::<say>("of a pipe.").unwrap();
            let text = std::io::read_to_string(process.take_stdout().unwrap()).unwrap();
            process.join().unwrap();
            assert!(text.ends_with("\n<child> of a pipe. by print"), "{text}");
            assert_eq!(text.matches("<child> of a pipe.").count(), LINES, "{text}");
            assert_eq!(text.lines().count(), LINES, "{text}");
        }
    }

    #[mp::test]
    fn children_speak_of_a_result() -> mp::Result<()> {
        let _watchdog = Watchdog::new();
        mp::spawn!(say, "of a result")?.join()?;
        Ok(())
    }

    #[mp::test]
    #[tokio::test]
    async fn children_speak_of_a_runtime() {
        let _watchdog = Watchdog::new();
        mp::spawn!(say, "of a runtime").unwrap().join().unwrap();
    }

    #[mp::test]
    #[should_panic(expected = "after the child")]
    fn panics_as_it_should() {
        mp::spawn!(say, "before a panic").unwrap().join().unwrap();
        panic!("after the child");
    }

    #[mp::test]
    #[should_panic(expected = "in a child")]
    fn panics_with_its_child() {
        mp::spawn!(panic).unwrap().join().unwrap();
    }

    #[mp::test]
    #[ignore = "another test runs it"]
    fn is_ignored() {
        let _watchdog = Watchdog::new();
        mp::spawn!(say, "of an ignored test")
            .unwrap()
            .join()
            .unwrap();
    }

    #[mp::test]
    #[ignore = "another test runs it"]
    #[should_panic(expected = "ignored as well")]
    fn is_ignored_and_panics() {
        mp::spawn!(say, "of an ignored panic")
            .unwrap()
            .join()
            .unwrap();
        panic!("ignored as well");
    }

    /// Fails if it is asked to.
    #[mp::test]
    fn may_fail() {
        mp::spawn!(say, "of a failure").unwrap().join().unwrap();
        assert!(
            std::env::var_os("MULTIPROC_TESTS_FAIL").is_none(),
            "as asked"
        );
    }

    /// Whose child fails, and nobody looks.
    #[mp::test]
    fn drops_its_child() {
        drop(mp::spawn!(panic).unwrap());
    }

    #[mp::test]
    #[ignore = "another test runs it"]
    fn a_child_names_its_test() {
        let _watchdog = Watchdog::new();
        let arguments = mp::spawn!(arguments).unwrap().join().unwrap();
        assert_eq!(
            arguments[1], "subjects::a_child_names_its_test",
            "{arguments:?}"
        );
    }

    #[mp::test]
    #[ignore = "another test runs it"]
    fn another_child_names_its_test() {
        let _watchdog = Watchdog::new();
        let arguments = mp::spawn!(arguments).unwrap().join().unwrap();
        assert_eq!(
            arguments[1], "subjects::another_child_names_its_test",
            "{arguments:?}"
        );
    }
}

fn harness(arguments: &[&str]) -> Ended {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(arguments)
        .env_remove("MULTIPROC_TESTS_ALONE")
        .env_remove("RUST_TEST_THREADS")
        .env_remove("RUST_TEST_NOCAPTURE")
        .env_remove("NEXTEST_EXECUTION_MODE");
    run(&mut command).nothing_left()
}

/// The lines of children, and the others, which are the harness's.
fn lines(ended: &Ended) -> (Vec<&str>, Vec<&str>) {
    // The harness may write the name of a test before the test runs, and then ends the line after it.
    let (mut children, mut others) = (Vec::new(), Vec::new());
    for line in ended.stdout.lines() {
        match line.split_once("<child> ") {
            Some((before, words)) => {
                children.push(words);
                others.extend(Some(before).filter(|before| !before.is_empty()));
            }
            None => others.extend(Some(line).filter(|line| !line.is_empty())),
        }
    }
    (children, others)
}

/// Checks that a run says what one run of these tests says, and that children wrote these lines.
#[track_caller]
fn is_one_run(ended: Ended, tests: usize, children: usize) {
    assert!(ended.status.success(), "{ended:#?}");
    let (from_children, others) = lines(&ended);
    assert_eq!(from_children.len(), children, "{ended:#?}");
    let plural = if tests == 1 { "" } else { "s" };
    let running: Vec<_> = others
        .iter()
        .filter(|line| line.starts_with("running "))
        .collect();
    assert_eq!(
        running,
        [&format!("running {tests} test{plural}")],
        "{ended:#?}"
    );
    let results = others
        .iter()
        .filter(|line| line.starts_with("test result: ok."))
        .count();
    assert_eq!(results, 1, "{ended:#?}");
    // What is left are the tests' own lines: in pieces, where the harness writes them in pieces.
    for line in others {
        let known = line.starts_with("test ")
            || line.starts_with("running ")
            || ["ok", "ignored, another test runs it", "."].contains(&line);
        assert!(known, "{line}: {ended:#?}");
    }
}

const OPTIONS: [&[&str]; 6] = [
    &["--nocapture"],
    &[],
    &["--test-threads=4"],
    &["--test-threads=1"],
    &["--test-threads=1", "--nocapture"],
    &["--test-threads=4", "--nocapture", "--color=always"],
];

#[track_caller]
fn check_alone(test: &str, children: usize) {
    let _watchdog = Watchdog::new();
    for options in OPTIONS {
        let name = format!("subjects::{test}");
        let mut arguments = vec![name.as_str(), "--exact"];
        arguments.extend(
            options
                .iter()
                .filter(|option| !option.starts_with("--color")),
        );
        is_one_run(harness(&arguments), 1, children);
    }
}

#[test]
fn only_the_children_of_a_test_speak() {
    check_alone("children_speak", 3 * subjects::LINES);
}

#[test]
fn silent_children_are_silent() {
    check_alone("children_say_nothing", 0);
}

#[test]
fn children_with_pipes_do_not_speak_elsewhere() {
    check_alone("children_speak_into_pipes", 0);
}

#[test]
fn tests_with_results_and_runtimes_have_children() {
    check_alone("children_speak_of_a_result", subjects::LINES);
    check_alone("children_speak_of_a_runtime", subjects::LINES);
}

#[test]
fn tests_that_should_panic_have_children() {
    check_alone("panics_as_it_should", subjects::LINES);
    check_alone("panics_with_its_child", 0);
}

#[test]
fn ignored_tests_have_children_when_they_are_run() {
    let _watchdog = Watchdog::new();
    for (test, words) in [
        ("subjects::is_ignored", "of an ignored test"),
        ("subjects::is_ignored_and_panics", "of an ignored panic"),
    ] {
        is_one_run(harness(&[test, "--exact"]), 1, 0);
        for option in ["--ignored", "--include-ignored"] {
            for more in OPTIONS.into_iter().take(5) {
                let mut arguments = vec![test, "--exact", option];
                arguments.extend(more);
                let ended = harness(&arguments);
                assert!(ended.stdout.contains(words), "{ended:#?}");
                is_one_run(ended, 1, subjects::LINES);
            }
        }
    }
}

#[test]
fn a_child_whose_test_is_over_says_nothing_on_standard_output() {
    check_alone("drops_its_child", 0);
}

#[test]
fn a_test_that_fails_after_its_child_fails() {
    let _watchdog = Watchdog::new();
    for options in OPTIONS.into_iter().take(5) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["subjects::may_fail", "--exact"])
            .args(options)
            .env("MULTIPROC_TESTS_FAIL", "1");
        let ended = run(&mut command).nothing_left().code(101);
        let (children, others) = lines(&ended);
        assert_eq!(children.len(), subjects::LINES, "{ended:#?}");
        let failed = others
            .iter()
            .filter(|line| line.starts_with("test result: FAILED. 0 passed; 1 failed"));
        assert_eq!(failed.count(), 1, "{ended:#?}");
    }
    check_alone("may_fail", subjects::LINES);
}

/// Tests at once, in one process.
#[test]
fn many_tests_at_once_have_children() {
    let _watchdog = Watchdog::new();
    let skip = ["--skip=its_test", "--skip=is_ignored"];
    for options in OPTIONS.into_iter().take(5) {
        let mut arguments = vec!["subjects::"];
        arguments.extend(skip.iter().chain(options));
        is_one_run(harness(&arguments), 9, 7 * subjects::LINES);
    }
}

/// "A child of a test is the test binary, started again on this one test", says the attribute.
#[test]
fn children_of_tests_in_one_process_are_started_on_their_own_tests() {
    let _watchdog = Watchdog::new();
    for options in OPTIONS.into_iter().take(5) {
        let mut arguments = vec!["names_its_test", "--ignored"];
        arguments.extend(options);
        is_one_run(harness(&arguments), 2, 0);
    }
}

#[test]
fn listing_tests_runs_none() {
    let _watchdog = Watchdog::new();
    let ended = harness(&["--list", "--format=terse"]);
    let (children, others) = lines(&ended);
    assert!(children.is_empty(), "{ended:#?}");
    assert!(
        others.contains(&"subjects::children_speak: test"),
        "{ended:#?}"
    );
}
