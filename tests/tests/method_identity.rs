//! Names, numbers and relatives of processes that are started by each method, and by several above each other.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use mp::StartMethod;
use multiproc_tests::methods;
use multiproc_tests::methods::{available, by, named, pairs, start, threads, value};
use multiproc_tests::processes::eventually;
use serde::{Deserialize, Serialize};

methods! {
    a_child_knows_itself_and_its_parent,
    names_are_shown_by_the_system,
    children_are_counted_by_their_parent,
    active_children_are_those_that_run,
    a_child_has_no_children_before_it_starts_some,
    a_child_sees_its_parent_alive,
    an_orphan_sees_its_parent_dead,
    daemons_may_have_children,
    the_method_of_one_process_is_not_that_of_its_children,
    the_method_of_a_program_is_that_of_all_its_processes,
    a_child_has_the_arguments_of_its_parent,
    ; once:
    grandchildren_of_each_pair_of_methods_know_their_lineage,
    lineages_are_three_deep,
    siblings_of_all_methods_are_counted_together,
    processes_are_nested_until_the_limit,
}

/// What a process knows of itself and its parent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Card {
    id: u32,
    name: String,
    daemon: bool,
    parent: Option<(u32, String)>,
    alive: Option<bool>,
    children: usize,
}

#[mp::process_fn]
fn card() -> Card {
    let this = mp::current_process();
    assert_eq!(this.id(), std::process::id());
    let parent = mp::parent_process();
    Card {
        id: this.id(),
        name: this.name().to_owned(),
        daemon: this.is_daemon(),
        parent: parent.map(|parent| (parent.id(), parent.name().to_owned())),
        alive: parent.map(|parent| parent.is_alive()),
        children: mp::active_children().len(),
    }
}

fn a_child_knows_itself_and_its_parent(method: StartMethod) {
    for name in [
        "indexer",
        "",
        "a line\nand (another) one",
        "Prozeß 1",
        &"long ".repeat(1000),
    ] {
        for daemon in [false, true] {
            let builder = by(method).name(name).daemon(daemon);
            let process = builder.spawn::<card>(()).unwrap();
            assert_eq!((process.name(), process.is_daemon()), (name, daemon));
            assert_ne!(process.id(), std::process::id());
            let expected = Card {
                id: process.id(),
                name: name.to_owned(),
                daemon,
                parent: Some((std::process::id(), "MainProcess".to_owned())),
                alive: Some(true),
                children: 0,
            };
            assert_eq!(process.join().unwrap(), expected);
        }
    }
    let mine = card();
    assert_eq!(
        (&*mine.name, mine.daemon, mine.parent),
        ("MainProcess", false, None)
    );
}

/// As `ps` and `top` show it, and as the standard library has it.
#[mp::process_fn]
fn shown() -> (Vec<u8>, Vec<u8>, Option<String>, usize) {
    let id = std::process::id();
    (
        fs::read(format!("/proc/{id}/comm")).unwrap(),
        fs::read("/proc/thread-self/comm").unwrap(),
        std::thread::current().name().map(str::to_owned),
        threads(),
    )
}

fn names_are_shown_by_the_system(method: StartMethod) {
    let mine = fs::read("/proc/self/comm").unwrap();
    for (name, expected) in [
        ("indexer", "indexer\n"),
        ("", "\n"),
        ("a name of more than fifteen bytes", "a name of more \n"),
        ("fourteen bytesé", "fourteen bytes\n"),
    ] {
        let process = by(method).name(name).spawn::<shown>(()).unwrap();
        let (process_name, thread_name, std_name, threads) = process.join().unwrap();
        assert_eq!(String::from_utf8(process_name).unwrap(), expected);
        assert_eq!(String::from_utf8(thread_name).unwrap(), expected);
        assert_eq!(std_name.as_deref(), Some("main"));
        assert_eq!(threads, 1, "a child begins with one thread");
    }
    assert_eq!(
        fs::read("/proc/self/comm").unwrap(),
        mine,
        "the parent keeps its own"
    );
}

fn children_are_counted_by_their_parent(method: StartMethod) {
    let number = || {
        let name = value::<card>(method, ()).name;
        name.strip_prefix("Process-")
            .unwrap()
            .parse::<u32>()
            .unwrap()
    };
    let first = number();
    assert_eq!(number(), first + 1);
    // A name of one's own counts all the same, and a start that fails does not have to.
    by(method)
        .name("named")
        .spawn::<card>(())
        .unwrap()
        .join()
        .unwrap();
    assert_eq!(number(), first + 3);
}

#[mp::process_fn]
fn wait(begun: mp::Event, end: mp::Event) {
    begun.set();
    end.wait().unwrap();
}

fn active_children_are_those_that_run(method: StartMethod) {
    assert_eq!(mp::active_children().len(), 0, "a fork server is none");
    let end = mp::Event::new().unwrap();
    let begin = |name: &str| {
        let begun = mp::Event::new().unwrap();
        let builder = by(method).name(name).daemon(name == "daemon");
        let process = builder.spawn::<wait>((begun.clone(), end.clone())).unwrap();
        begun.wait().unwrap();
        process
    };
    let (first, daemon) = (begin("first"), begin("daemon"));
    drop(begin("dropped"));
    let mut active = mp::active_children();
    active.sort_by_key(|child| child.name().to_owned());
    let seen: Vec<_> = active
        .iter()
        .map(|child| (child.name(), child.is_daemon()))
        .collect();
    assert_eq!(
        seen,
        [("daemon", true), ("dropped", false), ("first", false)]
    );
    assert_eq!((active[0].id(), active[2].id()), (daemon.id(), first.id()));
    assert!(
        active
            .iter()
            .all(|child| child.is_alive() && child.exit_code().is_none())
    );
    // Children that are started now have none of them, nor are theirs ours.
    assert_eq!(value::<card>(method, ()).children, 0);
    assert_eq!(mp::active_children().len(), 3);
    end.set();
    active
        .iter()
        .for_each(|child| assert!(child.wait().success()));
    assert_eq!(mp::active_children().len(), 0);
    first.join().unwrap();
    daemon.join().unwrap();
}

#[mp::process_fn]
fn count_children(method: &str) -> [usize; 4] {
    let method = named(method);
    let before = mp::active_children().len();
    let (begun, end) = (mp::Event::new().unwrap(), mp::Event::new().unwrap());
    let process = start::<wait>(method, (begun.clone(), end.clone()));
    begun.wait().unwrap();
    let meanwhile = mp::active_children().len();
    let below = value::<card>(method, ()).children;
    end.set();
    process.join().unwrap();
    [before, meanwhile, below, mp::active_children().len()]
}

fn a_child_has_no_children_before_it_starts_some(method: StartMethod) {
    let (begun, end) = (mp::Event::new().unwrap(), mp::Event::new().unwrap());
    let sibling = start::<wait>(method, (begun.clone(), end.clone()));
    begun.wait().unwrap();
    for second in available() {
        assert_eq!(
            value::<count_children>(method, second.name()),
            [0, 1, 0, 0],
            "{second}"
        );
    }
    end.set();
    sibling.join().unwrap();
}

#[mp::process_fn]
fn look_at_parent() -> ([bool; 3], u32) {
    let parent = mp::parent_process().unwrap();
    let short = Duration::from_millis(20);
    let seen = [
        parent.is_alive(),
        parent.wait_timeout(Duration::ZERO),
        parent.wait_timeout(short),
    ];
    (seen, parent.id())
}

fn a_child_sees_its_parent_alive(method: StartMethod) {
    let (seen, parent) = value::<look_at_parent>(method, ());
    assert_eq!((seen, parent), ([true, false, false], std::process::id()));
}

/// Tells what it sees when its parent has ended.
#[mp::process_fn]
fn outlive(begun: mp::Event, seen: mp::Queue<(bool, bool, String)>) {
    let parent = mp::parent_process().unwrap();
    assert!(parent.is_alive());
    begun.set();
    let ended = parent.wait_timeout(Duration::from_secs(60));
    let name = parent.name().to_owned();
    seen.put((ended, parent.is_alive(), name)).unwrap();
}

/// Starts a child, and is killed.
#[mp::process_fn]
fn die_above(method: &str, seen: mp::Queue<(bool, bool, String)>) {
    let begun = mp::Event::new().unwrap();
    start::<outlive>(named(method), (begun.clone(), seen));
    begun.wait().unwrap();
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
}

fn an_orphan_sees_its_parent_dead(method: StartMethod) {
    let before = known();
    for first in available() {
        let seen = mp::Queue::new().unwrap();
        let builder = by(first).name("the parent");
        let process = builder
            .spawn::<die_above>((method.name(), seen.clone()))
            .unwrap();
        assert_eq!(
            process
                .join()
                .unwrap_err()
                .to_string()
                .matches("SIGKILL")
                .count(),
            1
        );
        assert_eq!(
            seen.get().unwrap(),
            (true, false, "the parent".to_owned()),
            "{first}"
        );
    }
    // Orphans, and what their parents had once, are nobody's to join.
    assert!(eventually(|| (known() == before).then_some(())).is_some());
}

/// How many processes of the tree are known.
fn known() -> u64 {
    mp::arena_stats().unwrap().processes
}

/// A daemon starts a daemon and another child by a method, and waits to be ended.
#[mp::process_fn]
fn have_children(method: &str, pids: mp::Queue<u32>) {
    let end = mp::Event::new().unwrap();
    for daemon in [true, false] {
        let begun = mp::Event::new().unwrap();
        let builder = by(named(method)).daemon(daemon);
        let process = builder.spawn::<wait>((begun.clone(), end.clone())).unwrap();
        begun.wait().unwrap();
        pids.put(process.id()).unwrap();
    }
    end.set();
}

fn daemons_may_have_children(method: StartMethod) {
    for second in available()
        .into_iter()
        .filter(|second| *second != StartMethod::Fork)
    {
        let pids = mp::Queue::new().unwrap();
        let builder = by(method).daemon(true);
        let daemon = builder
            .spawn::<have_children>((second.name(), pids.clone()))
            .unwrap();
        daemon.join().unwrap();
        assert_eq!(pids.len(), 2);
    }
    // A thread of the library lets a daemon follow its parent; what to do is in the message.
    let builder = by(method).daemon(true).stderr(Stdio::null());
    let pids = mp::Queue::new().unwrap();
    if available().contains(&StartMethod::Fork) {
        let daemon = builder.spawn::<have_children>(("fork", pids)).unwrap();
        let error = daemon.join().unwrap_err().to_string();
        assert!(error.contains("thread"), "{error}");
    }
}

#[mp::process_fn]
fn method_of_the_program() -> String {
    mp::start_method().name().to_owned()
}

#[mp::process_fn]
fn method_below(method: &str) -> String {
    value::<method_of_the_program>(named(method), ())
}

fn the_method_of_one_process_is_not_that_of_its_children(method: StartMethod) {
    assert_eq!(value::<method_of_the_program>(method, ()), "spawn");
    for second in available() {
        assert_eq!(value::<method_below>(second, method.name()), "spawn");
    }
}

/// It is chosen once in a program, for all of its processes.
fn the_method_of_a_program_is_that_of_all_its_processes(method: StartMethod) {
    mp::set_start_method(method).unwrap();
    let error = mp::set_start_method(StartMethod::Spawn).unwrap_err();
    assert!(matches!(error, mp::Error::StartMethodSet { current } if current == method.name()));
    for second in available() {
        let below = value::<method_below>(second, "spawn");
        assert_eq!(
            [value::<method_of_the_program>(second, ()), below],
            [method.name(), method.name()],
            "{second}"
        );
    }
    assert_eq!(mp::start_method(), method);
}

#[mp::process_fn]
fn arguments() -> (Vec<String>, Option<String>, Vec<u8>) {
    let this = std::env::current_exe().ok();
    let this = this.map(|path| path.display().to_string());
    (
        std::env::args().collect(),
        this,
        fs::read("/proc/self/cmdline").unwrap(),
    )
}

fn a_child_has_the_arguments_of_its_parent(method: StartMethod) {
    let mine = arguments();
    let its = value::<arguments>(method, ());
    assert_eq!((its.0, its.1), (mine.0, mine.1));
    let shown = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    assert_eq!(shown(its.2), shown(mine.2), "as `ps` shows it");
}

/// The names and parents of a process and those below it, which are started by the methods that are left, twice each.
#[mp::process_fn]
fn family(below: &str) -> Vec<(String, u32, Option<u32>)> {
    let mine = card();
    let mut family = vec![(mine.name, mine.id, mine.parent.map(|parent| parent.0))];
    if let Some((method, below)) = below.split_once(' ') {
        for _ in 0..2 {
            let mut its = value::<family>(named(method), below);
            assert_eq!(its[0].2, Some(mine.id), "its parent is this process");
            family.append(&mut its);
        }
    }
    family
}

#[track_caller]
fn check_family(methods: &[StartMethod], number: u32) {
    let below: String = methods[1..]
        .iter()
        .map(|method| format!("{method} "))
        .collect();
    let family = value::<family>(methods[0], &below);
    let names: Vec<_> = family.iter().map(|member| member.0.clone()).collect();
    let mut expected = vec![format!("Process-{number}")];
    descend(&expected[0].clone(), methods.len() - 1, &mut expected);
    assert_eq!(names, expected, "{methods:?}");
    let mut pids: Vec<_> = family.iter().map(|member| member.1).collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), family.len(), "{methods:?}: each is a process");
}

fn descend(name: &str, levels: usize, names: &mut Vec<String>) {
    for number in (1..=2).filter(|_| levels > 0) {
        let child = format!("{name}:{number}");
        names.push(child.clone());
        descend(&child, levels - 1, names);
    }
}

/// The number that the next child of this process will have.
fn next_number() -> u32 {
    let name = value::<card>(StartMethod::Spawn, ()).name;
    name.strip_prefix("Process-")
        .unwrap()
        .parse::<u32>()
        .unwrap()
        + 1
}

fn grandchildren_of_each_pair_of_methods_know_their_lineage() {
    let first = next_number();
    for (number, pair) in (first..).zip(pairs()) {
        check_family(&pair, number);
    }
}

fn lineages_are_three_deep() {
    let first = next_number();
    let triples = pairs().into_iter().flat_map(|[a, b]| {
        let methods = available().into_iter();
        methods.map(move |c| [a, b, c])
    });
    for (number, triple) in (first..).zip(triples) {
        check_family(&triple, number);
    }
}

fn siblings_of_all_methods_are_counted_together() {
    let first = next_number();
    let methods: Vec<_> = available().into_iter().cycle().take(9).collect();
    for (number, method) in (first..).zip(methods) {
        assert_eq!(value::<card>(method, ()).name, format!("Process-{number}"));
    }
}

#[mp::process_fn]
fn nest(method: &str, depth: u32) -> Result<u32, mp::RemoteError> {
    match by(named(method)).spawn::<nest>((method, depth + 1)) {
        Ok(process) => process.join()?,
        Err(mp::Error::TooDeep { depth: limit }) if limit == depth => Ok(limit),
        Err(error) => Err(error.into()),
    }
}

fn processes_are_nested_until_the_limit() {
    for method in available() {
        assert_eq!(
            value::<nest>(method, (method.name(), 1)).unwrap(),
            64,
            "{method}"
        );
    }
}
