//! What a program prints whose children's output is captured, as its reader sees it.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread;

use multiproc_tests::processes::{Watched, eventually, is_readable};
use multiproc_tests::program::{Ended, Running, run};
use multiproc_tests::watchdog::Watchdog;

const METHODS: [&str; 3] = ["spawn", "fork", "forkserver"];

fn speaking(scene: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_speaking"));
    command.arg(scene);
    command
}

#[track_caller]
fn ended(scene: &str, code: i32) -> Ended {
    run(&mut speaking(scene)).nothing_left().code(code)
}

/// Checks that the lines with this beginning are these, and takes them out.
#[track_caller]
fn take<'a>(lines: &mut Vec<&'a str>, prefix: &str, expected: impl Iterator<Item = String>) {
    let is_there = |line: &&&'a str| line.starts_with(prefix);
    let found: Vec<_> = lines.iter().filter(is_there).copied().collect();
    assert_eq!(found, expected.collect::<Vec<_>>());
    lines.retain(|line| !line.starts_with(prefix));
}

#[test]
fn half_lines_of_many_children_come_whole() {
    let Ended { stdout, stderr, .. } = ended("turns", 0);
    let (mut said, mut warned) = (stdout.lines().collect(), stderr.lines().collect());
    for who in 0..8 {
        let tag = format!("[child {who}] ");
        let line = |n| format!("{tag}{who} begins {n}, {who} ends {n}");
        take(&mut said, &tag, (0..50).map(line));
        let line = |n| format!("{tag}{who} warns {n}, {who} warned {n}");
        take(&mut warned, &tag, (0..50).map(line));
    }
    for lines in [&mut said, &mut warned] {
        take(lines, "mine", (0..50).map(|n| format!("mine {n}")));
    }
    assert_eq!((said, warned), (vec!["joined"; 8], vec![]));
    // What a child wrote is passed on before its join returns.
    let place = |found: &dyn Fn(&str) -> bool| stdout.lines().position(found);
    let mut joins = (0..)
        .zip(stdout.lines())
        .filter(|(_, line)| *line == "joined");
    for who in 0..8 {
        let last = place(&|line| line.ends_with(&format!("{who} ends 49")));
        assert!(last < joins.next().map(|(at, _)| at), "{stdout}");
    }
}

/// Checks that all is there that a child chatters.
#[track_caller]
fn check_chatter(text: &str, tag: &str, what: &str, last: &str) {
    let lines: Vec<_> = text.lines().collect();
    let expected = (0..1000).map(|n| format!("{tag}{what} {n}"));
    let expected: Vec<_> = expected.chain([format!("{tag}{last}")]).collect();
    assert_eq!(lines, expected);
    assert!(text.ends_with('\n'));
}

#[test]
fn all_is_printed_before_the_program_ends() {
    for method in METHODS {
        let ended = |scene, code| {
            let mut command = speaking(scene);
            run(command.env("METHOD", method)).nothing_left().code(code)
        };
        for (scene, code, tag) in [
            ("return", 0, "[Process-1] "),
            ("exit", 7, "[Process-1] "),
            ("daemon", 0, "[Process-1] "),
            ("pool", 0, "[PoolWorker-1] "),
        ] {
            let ended = ended(scene, code);
            check_chatter(&ended.stderr, tag, "warning", "the last warning");
            // A pool's worker flushes its standard output when it leaves.
            check_chatter(&ended.stdout, tag, "line", "the end");
        }
        let ended = ended("panic", 101);
        check_chatter(&ended.stdout, "[Process-1] ", "line", "the end");
        assert!(ended.stderr.contains("on purpose"));
        let said = |line| line == "[Process-1] the last warning";
        assert!(ended.stderr.lines().any(said), "{}", ended.stderr);
    }
}

#[test]
fn a_process_forks_when_it_captures_nothing_any_more() {
    let mut command = speaking("fork twice");
    let stdout = run(command.env("METHOD", "fork")).nothing_left().success();
    let (error, rest) = stdout.split_once('\n').expect("lines");
    assert!(error.contains("threads"), "{error}");
    // The one that was not started has had a name.
    assert_eq!(rest, "[Process-3] the end\n");
}

#[test]
fn a_child_whose_parent_was_killed_has_an_error_when_it_prints() {
    // Who was made by `Fork` has the other end of its pipe itself.
    for method in ["spawn", "forkserver"] {
        let running = Running::start(speaking("orphan").env("METHOD", method));
        running.said("[Process-1] all is well\n");
        Watched::new(running.child.id()).kill();
        running.end().nothing_stays();
    }
}

#[test]
fn a_function_is_called_for_all_before_the_program_ends() {
    let ended = ended("slow", 0);
    let heard = |what| {
        let lines = ended.stdout.lines();
        lines
            .filter(|line| line.contains(what))
            .collect::<Vec<_>>()
            .join("\n")
            + "\n"
    };
    let tag = "heard [Process-1] ";
    check_chatter(
        &(heard(" line ") + tag + "the end\n"),
        tag,
        "line",
        "the end",
    );
    assert!(ended.stdout.contains(&format!("{tag}the end\n")));
    assert_eq!(ended.stdout.lines().count(), 2 * 1001);
}

#[test]
fn many_children_one_after_the_other_leave_no_thread_and_no_descriptor() {
    for (method, children) in METHODS.into_iter().zip([1000, 100, 100]) {
        let mut command = speaking("many");
        command.arg(children.to_string()).env("METHOD", method);
        let stdout = run(&mut command).nothing_left().success();
        let mut lines: Vec<_> = stdout.lines().collect();
        let expected = (1..=children).flat_map(|n| {
            let said = |words| format!("[Process-{n}] {words}");
            ["line 0", "the end"].map(said)
        });
        take(&mut lines, "[", expected);
        assert_eq!(lines, ["nothing is left"], "{method}");
    }
}

#[test]
fn bytes_pass_unchanged() {
    let all: Vec<u8> = (0..=255).filter(|byte| !b"\r\n".contains(byte)).collect();
    let mut bytes = Vec::new();
    let mut expected = Vec::new();
    for length in 0..all.len() {
        for line in [&all[..length], &all[length..]] {
            for (from, tag) in [(&mut bytes, ""), (&mut expected, "[Process-1] ")] {
                from.extend(tag.as_bytes());
                from.extend(line);
                from.push(b'\n');
            }
        }
    }
    let _watchdog = Watchdog::new();
    let mut child = speaking("bytes")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starting");
    let mut stdin = child.stdin.take().expect("it is piped");
    let writer = thread::spawn(move || stdin.write_all(&bytes).expect("it reads"));
    let mut read = Vec::new();
    let mut stdout = child.stdout.take().expect("it is piped");
    stdout.read_to_end(&mut read).expect("reading");
    writer.join().expect("writing");
    assert!(child.wait().expect("waiting").success());
    assert!(read == expected, "{}", String::from_utf8_lossy(&read));
}

#[test]
fn a_program_whose_output_nobody_reads_waits_for_nobody_but_those_who_print() {
    let mut command = speaking("unread");
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().expect("starting");
    let _watchdog = Watchdog::new();
    let watched = Watched::new(child.id());
    let mut stderr = child.stderr.take().expect("it is piped");
    // What is said to it is read by this thread.
    let mut said = Vec::new();
    let hears = eventually(|| is_readable(&stderr, Default::default()).then_some(()));
    assert!(hears.is_some());
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&said).contains("waiting for a reader") {
        let length = stderr.read(&mut buffer).expect("reading");
        assert!(length > 0, "{}", String::from_utf8_lossy(&said));
        said.extend(&buffer[..length]);
    }
    assert!(!watched.has_ended());
    let errors = thread::spawn(move || {
        let mut rest = Vec::new();
        stderr.read_to_end(&mut rest).expect("reading");
        rest
    });
    let mut stdout = String::new();
    let mut pipe = child.stdout.take().expect("it is piped");
    pipe.read_to_string(&mut stdout).expect("reading");
    said.extend(errors.join().expect("reading"));
    assert!(child.wait().expect("waiting").success());
    let said = String::from_utf8(said).expect("text");

    let (mut printed, mut warned) = (stdout.lines().collect(), said.lines().collect());
    for (name, count) in [
        ("quick 0", 100),
        ("quick 1", 100),
        ("quick 2", 100),
        ("flood", 50_000),
    ] {
        let tag = format!("[{name}] ");
        for (lines, what, last) in [
            (&mut printed, "line", "the end"),
            (&mut warned, "warning", "the last warning"),
        ] {
            let expected = (0..count).map(|n| format!("{tag}{what} {n}"));
            take(lines, &tag, expected.chain([format!("{tag}{last}")]));
        }
    }
    take(
        &mut warned,
        "a worker",
        (0..3).map(|_| "a worker warns".to_owned()),
    );
    assert_eq!((printed, warned), (vec![], vec!["waiting for a reader"]));
}

#[test]
fn a_program_that_a_child_leaves_behind_is_heard_as_long_as_its_parent_runs() {
    let ended =
        run(speaking("script").arg("(setsid sh -c 'echo late; echo; echo later') &")).code(0);
    // It may come before or after the child's end, but before or after this program's as well.
    let lines: Vec<_> = ended.stdout.lines().collect();
    assert!(lines.contains(&"joined"), "{lines:?}");
    let rest: Vec<_> = lines.into_iter().filter(|line| *line != "joined").collect();
    let whole = ["[Process-1] late", "[Process-1] ", "[Process-1] later"];
    assert!(whole.starts_with(&rest), "{rest:?}");
}

#[test]
fn a_program_that_keeps_the_streams_open_does_not_hold_up_a_join() {
    let mut command = speaking("script");
    let running = Running::start(command.arg("echo now; setsid sleep 1000 & "));
    running.said("joined");
    Watched::new(running.child.id()).ends();
    let holder = || {
        let mut processes = running.processes().into_iter();
        processes.find(|entry| entry.name == "sleep")
    };
    let holder = eventually(holder).expect("it outlives the program");
    Watched::new(holder.pid).kill();
    let ended = running.end().code(0);
    assert_eq!(ended.stdout, "[Process-1] now\njoined\n");
}
