//! Names, numbers and relatives of processes.

use std::fs;
use std::time::Duration;

use multiproc_tests::leaks::{alone, apart, nothing};
use multiproc_tests::watchdog::Watchdog;
use serde::{Deserialize, Serialize};

/// What a process knows of itself and its parent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Card {
    id: u32,
    name: String,
    daemon: bool,
    parent: Option<(u32, String)>,
}

fn card() -> Card {
    let this = mp::current_process();
    let parent = mp::parent_process();
    Card {
        id: this.id(),
        name: this.name().to_owned(),
        daemon: this.is_daemon(),
        parent: parent.map(|parent| (parent.id(), parent.name().to_owned())),
    }
}

#[mp::process_fn]
fn present() -> Card {
    card()
}

/// Starts `below[0]` children one after the other, of which each does so with the rest, and gives their names.
#[mp::process_fn]
fn names(below: &[u8]) -> Vec<String> {
    let mut names = vec![mp::current_process().name().to_owned()];
    if let [children, below @ ..] = below {
        for _ in 0..*children {
            names.extend(mp::spawn!(names, below).unwrap().join().unwrap());
        }
    }
    names
}

#[mp::test]
fn names_tell_the_lineage() {
    apart(|| {
        assert_eq!(
            mp::spawn!(names, &[2, 2]).unwrap().join().unwrap(),
            [
                "Process-1",
                "Process-1:1",
                "Process-1:1:1",
                "Process-1:1:2",
                "Process-1:2",
                "Process-1:2:1",
                "Process-1:2:2",
            ]
        );
        assert_eq!(
            mp::spawn!(names, &[]).unwrap().join().unwrap(),
            ["Process-2"]
        );
        // A name of one's own counts all the same, and is no part of the lineage.
        let named = mp::Builder::new()
            .name("named")
            .spawn::<names>(&[1])
            .unwrap();
        assert_eq!(named.join().unwrap(), ["named", "Process-3:1"]);
        assert_eq!(mp::spawn!(names, &[]).unwrap().name(), "Process-4");
    });
}

#[mp::test]
fn a_process_knows_itself_and_its_parent() {
    let _watchdog = Watchdog::new();
    for name in [
        "indexer",
        "",
        "a line\nand (another) one",
        "Prozeß 1",
        &"long ".repeat(1000),
    ] {
        for daemon in [false, true] {
            let process = mp::Builder::new()
                .name(name)
                .daemon(daemon)
                .spawn::<present>(())
                .unwrap();
            assert_eq!((process.name(), process.is_daemon()), (name, daemon));
            let expected = Card {
                id: process.id(),
                name: name.to_owned(),
                daemon,
                parent: Some((std::process::id(), "MainProcess".to_owned())),
            };
            assert_eq!(process.join().unwrap(), expected);
        }
    }
}

/// As `ps` and `top` show it.
#[mp::process_fn]
fn shown_name() -> Vec<u8> {
    fs::read("/proc/self/comm").unwrap()
}

#[mp::test]
fn the_system_shows_the_name_of_a_process_cut_to_what_it_keeps() {
    let _watchdog = Watchdog::new();
    for (name, shown) in [
        ("indexer", "indexer"),
        ("", ""),
        ("exactly fifteen", "exactly fifteen"),
        ("a name of more than fifteen bytes", "a name of more "),
        ("fourteen bytesé", "fourteen bytes"),
        ("a line\nand (another) one", "a line\nand (ano"),
    ] {
        let process = mp::Builder::new()
            .name(name)
            .spawn::<shown_name>(())
            .unwrap();
        let bytes = process.join().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&bytes).strip_suffix('\n'),
            Some(shown)
        );
    }
}

#[mp::test]
fn the_first_process_is_the_main_process() {
    let _watchdog = Watchdog::new();
    let card = card();
    assert_eq!(
        (card.id, card.name.as_str(), card.daemon, card.parent),
        (std::process::id(), "MainProcess", false, None)
    );
}

#[mp::process_fn]
fn has_living_parent() -> [bool; 3] {
    let parent = mp::parent_process().unwrap();
    let times = [Duration::ZERO, Duration::from_millis(20)];
    [
        parent.is_alive(),
        parent.wait_timeout(times[0]),
        parent.wait_timeout(times[1]),
    ]
}

#[mp::test]
fn a_parent_is_alive_while_it_runs() {
    let _watchdog = Watchdog::new();
    assert_eq!(
        mp::spawn!(has_living_parent).unwrap().join().unwrap(),
        [true, false, false]
    );
}

#[mp::test]
fn debug_shows_what_is_known_of_a_process() {
    let _watchdog = Watchdog::new();
    let process = mp::Builder::new()
        .name("shown")
        .spawn::<nothing>(())
        .unwrap();
    process.wait();
    let expected = format!(
        "Process {{ name: \"shown\", pid: {}, function: \"multiproc_tests.nothing\", daemon: false, exit_code: Some(0) }}",
        process.id()
    );
    assert_eq!(format!("{process:?}"), expected);
}

#[mp::process_fn]
fn cpus() -> usize {
    mp::cpu_count()
}

#[mp::test]
fn the_number_of_processors_is_that_of_the_affinity() {
    let _watchdog = Watchdog::new();
    assert_eq!(mp::spawn!(cpus).unwrap().join().unwrap(), mp::cpu_count());
    // The affinity of the thread that starts a process is the process's.
    alone(|| {
        let mut one = rustix::thread::CpuSet::new();
        let mine = rustix::thread::sched_getaffinity(None).unwrap();
        let first = (0..rustix::thread::CpuSet::MAX_CPU)
            .find(|cpu| mine.is_set(*cpu))
            .unwrap();
        one.set(first);
        rustix::thread::sched_setaffinity(None, &one).unwrap();
        assert_eq!(mp::cpu_count(), 1);
        assert_eq!(mp::spawn!(cpus).unwrap().join().unwrap(), 1);
    });
}

#[mp::process_fn(name = "a stable name")]
fn named() {}

#[mp::test]
fn functions_are_listed_by_name_with_their_places() {
    let _watchdog = Watchdog::new();
    let listed: Vec<_> = mp::functions().collect();
    assert!(listed.is_sorted_by_key(|function| function.name()));
    let find = |name: &str| listed.iter().find(|function| function.name() == name);
    let function = find("a stable name").unwrap();
    assert_eq!(
        (function.file(), function.line()),
        ("tests/tests/process_identity.rs", line_of("fn named() {}"))
    );
    let function = find("process_identity::present").unwrap();
    assert_eq!(function.line(), line_of("fn present() -> Card {"));
    assert!(
        find("multiproc_tests.nothing")
            .unwrap()
            .file()
            .ends_with("src/leaks.rs")
    );
    assert_eq!(find("named").map(|function| function.name()), None);
    assert_eq!(mp::spawn!(named).unwrap().function(), "a stable name");
}

fn line_of(text: &str) -> u32 {
    let line = include_str!("process_identity.rs")
        .lines()
        .position(|line| line == text)
        .unwrap();
    u32::try_from(line).unwrap() + 1
}
