//! The fork server: what it prepares, what its copies have of it, and that its death hurts nobody.

use std::collections::HashSet;
use std::env::set_current_dir;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use mp::{Atomic, Error, Event, Fd, Process, ProcessError, Queue, StartMethod};
use multiproc_tests::clib::{at_exit, set_variable};
use multiproc_tests::leaks::nothing;
use multiproc_tests::methods;
use multiproc_tests::methods::{available, by, start, threads, value};
use multiproc_tests::processes::{Entry, Watched, children_of, entry, eventually};
use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};

methods! {
    ; once:
    there_is_one_server_which_is_nobodys_child,
    what_is_prepared_is_there_in_all_children_and_made_once,
    what_is_prepared_is_changed_by_each_child_alone,
    handles_and_descriptors_are_prepared_with,
    no_preparation_is_the_last_one_set,
    a_preparation_that_panics_is_told_by_each_start,
    a_preparation_that_ends_the_server_is_an_error,
    a_preparation_that_leaves_threads_is_told,
    a_preparation_may_have_had_threads,
    a_preparation_is_replaced_while_children_run,
    a_preparation_that_cannot_be_encoded_changes_nothing,
    surroundings_are_those_of_who_asks_whatever_was_prepared,
    nothing_of_the_preparation_is_said_or_done_twice,
    seeds_that_the_preparation_has_used_are_not_the_childrens,
    a_preparation_may_start_children,
    children_have_servers_of_their_own,
    a_server_that_was_killed_is_made_again,
    children_keep_their_status_when_the_server_is_killed,
    a_server_may_be_killed_at_any_moment,
    a_server_that_is_killed_by_each_start_is_an_error,
}

/// A child of the fork server of this process.
#[track_caller]
fn begin<F: mp::ProcessFn>(args: F::Args<'_>) -> Process<F::Output> {
    start::<F>(StartMethod::Forkserver, args)
}

#[track_caller]
fn get<F: mp::ProcessFn>(args: F::Args<'_>) -> F::Output {
    value::<F>(StartMethod::Forkserver, args)
}

/// Why a start by the fork server fails.
#[track_caller]
fn refusal() -> Error {
    let builder = by(StartMethod::Forkserver);
    builder.spawn::<nothing>(()).expect_err("the server fails")
}

fn servers() -> Vec<Entry> {
    let mut all = children_of(std::process::id());
    all.retain(|child| child.name == "forkserver" && !child.zombie);
    all
}

/// The fork server of this process.
#[track_caller]
fn server() -> Watched {
    match &servers()[..] {
        [server] => Watched::new(server.pid),
        others => panic!("one server: {others:?}"),
    }
}

#[mp::process_fn]
fn wait(begun: Event, end: Event) -> u8 {
    begun.set();
    end.wait().unwrap();
    7
}

fn waiting() -> (Process<u8>, Event) {
    let (begun, end) = (Event::new().unwrap(), Event::new().unwrap());
    let process = begin::<wait>((begun.clone(), end.clone()));
    begun.wait().unwrap();
    (process, end)
}

fn there_is_one_server_which_is_nobodys_child() {
    let [before] = &servers()[..] else {
        panic!("one server: {:?}", servers())
    };
    let (process, end) = waiting();
    assert_eq!(mp::active_children().len(), 1);
    assert_eq!(
        entry(process.id()).unwrap().parent,
        before.pid,
        "it is a copy of it"
    );
    assert_eq!(get::<parents>(()), [std::process::id(), std::process::id()]);
    end.set();
    process.join().unwrap();
    let [after] = &servers()[..] else {
        panic!("one server: {:?}", servers())
    };
    assert_eq!(after.pid, before.pid);
    let copies = children_of(before.pid);
    assert!(
        eventually(|| children_of(before.pid).is_empty().then_some(())).is_some(),
        "{copies:?}"
    );
    let tasks = std::fs::read_dir(format!("/proc/{}/task", before.pid)).unwrap();
    assert_eq!(tasks.count(), 1);
}

/// The parent as the library has it, and again.
#[mp::process_fn]
fn parents() -> [u32; 2] {
    let id = || mp::parent_process().unwrap().id();
    [id(), id()]
}

static TABLE: OnceLock<Vec<u64>> = OnceLock::new();
static CHANGES: AtomicU32 = AtomicU32::new(0);

#[mp::process_fn]
fn prepare(size: u64, calls: Atomic<u64>) {
    calls.fetch_add(1, Ordering::SeqCst);
    TABLE.set((0..size).map(|n| n * n).collect()).unwrap();
    CHANGES.store(100, Ordering::SeqCst);
}

/// What is at a place of the table, where the table is, and what changes there were.
#[mp::process_fn]
fn look(index: usize) -> (Option<u64>, usize, u32) {
    let table = TABLE.get();
    let place = table.map_or(0, |table| table.as_ptr().addr());
    let found = table.and_then(|table| table.get(index)).copied();
    (found, place, CHANGES.fetch_add(1, Ordering::SeqCst))
}

fn calls() -> Atomic<u64> {
    Atomic::new(0).unwrap()
}

/// Lets the next test begin with a server that has prepared nothing.
fn unprepare() {
    mp::set_forkserver_preload::<nothing>(()).unwrap();
    get::<nothing>(());
}

fn what_is_prepared_is_there_in_all_children_and_made_once() {
    let calls = calls();
    mp::set_forkserver_preload::<prepare>((1000, calls.clone())).unwrap();
    let mut places = HashSet::new();
    for index in 0..20 {
        let (found, place, _) = get::<look>(index);
        assert_eq!(found, Some((index * index) as u64));
        places.insert(place);
    }
    let together: Vec<_> = (0..10).map(begin::<look>).collect();
    places.extend(
        together
            .into_iter()
            .map(|process| process.join().unwrap().1),
    );
    assert_eq!(places.len(), 1, "it is one table");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert_eq!(TABLE.get(), None, "it is not made here");
    // Nor in children that are started otherwise.
    for method in available()
        .into_iter()
        .filter(|method| *method != StartMethod::Forkserver)
    {
        assert_eq!(value::<look>(method, 1), (None, 0, 0), "{method}");
    }
    unprepare();
}

fn what_is_prepared_is_changed_by_each_child_alone() {
    mp::set_forkserver_preload::<prepare>((10, calls())).unwrap();
    for _ in 0..3 {
        assert_eq!(get::<look>(1).2, 100);
    }
    unprepare();
}

static KEPT: OnceLock<(Queue<String>, Event)> = OnceLock::new();

#[mp::process_fn]
fn keep(queue: Queue<String>, event: Event, mut file: Fd<File>) {
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    queue.put(text).unwrap();
    KEPT.set((queue, event)).unwrap();
}

/// Uses what was prepared.
#[mp::process_fn]
fn use_kept(text: &str) {
    let (queue, event) = KEPT.get().unwrap();
    queue.put(text.to_owned()).unwrap();
    event.set();
}

fn handles_and_descriptors_are_prepared_with() {
    let (queue, event) = (Queue::new().unwrap(), Event::new().unwrap());
    let file = File::from(memfd_create("file", MemfdFlags::CLOEXEC).unwrap());
    rustix::io::pwrite(&file, b"from a file", 0).unwrap();
    let args = (
        queue.clone(),
        event.clone(),
        Fd::new(file.try_clone().unwrap()),
    );
    mp::set_forkserver_preload::<keep>(args).unwrap();
    drop(file);
    get::<use_kept>("one");
    assert!(event.is_set());
    // The next server has them again; the file was read to its end.
    server().kill();
    get::<use_kept>("two");
    let items: Vec<_> = (0..4).map(|_| queue.get().unwrap()).collect();
    assert_eq!(items, ["from a file", "one", "", "two"]);
    assert!(queue.is_empty());
    unprepare();
}

fn no_preparation_is_the_last_one_set() {
    let (first, second) = (calls(), calls());
    mp::set_forkserver_preload::<prepare>((5, first.clone())).unwrap();
    mp::set_forkserver_preload::<prepare>((7, second.clone())).unwrap();
    assert_eq!((get::<look>(6).0, get::<look>(7).0), (Some(36), None));
    assert_eq!(
        (first.load(Ordering::SeqCst), second.load(Ordering::SeqCst)),
        (0, 1)
    );
    unprepare();
    assert_eq!(get::<look>(6).0, None);
}

#[mp::process_fn]
fn fail(how: u8) {
    match how {
        0 => panic!("nothing can be prepared"),
        1 => std::process::exit(3),
        2 => std::process::abort(),
        _ => drop(rustix::process::kill_process(
            rustix::process::getpid(),
            rustix::process::Signal::KILL,
        )),
    }
}

fn a_preparation_that_panics_is_told_by_each_start() {
    mp::set_forkserver_preload::<fail>(0).unwrap();
    for _ in 0..3 {
        let error = refusal();
        let Error::Preload(cause) = &error else {
            panic!("{error:?}")
        };
        assert!(matches!(**cause, ProcessError::Panicked(_)), "{cause:?}");
        for words in [
            "set_forkserver_preload",
            "nothing can be prepared",
            "method_forkserver.rs:",
        ] {
            assert!(error.to_string().contains(words), "{words}: {error}");
        }
        assert_eq!(mp::active_children().len(), 0);
        value::<nothing>(StartMethod::Spawn, ());
        value::<nothing>(StartMethod::Fork, ());
    }
    unprepare();
}

fn a_preparation_that_ends_the_server_is_an_error() {
    for how in 1..4 {
        mp::set_forkserver_preload::<fail>(how).unwrap();
        for _ in 0..2 {
            let error = refusal().to_string();
            assert!(error.contains("fork server"), "{how}: {error}");
        }
    }
    unprepare();
}

#[mp::process_fn]
fn leave_threads(number: usize, stay: bool) {
    let threads = (0..number).map(|_| {
        thread::spawn(move || {
            if stay {
                loop {
                    thread::park();
                }
            }
        })
    });
    let threads: Vec<_> = threads.collect();
    if !stay {
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    }
}

fn a_preparation_that_leaves_threads_is_told() {
    for number in [1, 4] {
        mp::set_forkserver_preload::<leave_threads>((number, true)).unwrap();
        for _ in 0..2 {
            let error = refusal();
            assert!(
                matches!(error, Error::ForkServerWithThreads { threads } if threads == number + 1),
                "{error:?}"
            );
            for words in [&(number + 1).to_string(), "set_forkserver_preload"] {
                assert!(error.to_string().contains(words), "{words}: {error}");
            }
        }
    }
    unprepare();
}

fn a_preparation_may_have_had_threads() {
    mp::set_forkserver_preload::<leave_threads>((8, false)).unwrap();
    assert_eq!(get::<count_threads>(()), 1);
    unprepare();
}

#[mp::process_fn]
fn count_threads() -> usize {
    threads()
}

fn a_preparation_is_replaced_while_children_run() {
    let (process, end) = waiting();
    let (killed, _end) = waiting();
    let before = server();
    mp::set_forkserver_preload::<prepare>((10, calls())).unwrap();
    assert_eq!(get::<look>(3).0, Some(9));
    assert!(process.is_alive() && killed.is_alive());
    killed.kill().unwrap();
    let error = killed.join().unwrap_err();
    assert!(
        matches!(error, ProcessError::Signaled { signal: 9, .. }),
        "{error:?}"
    );
    end.set();
    assert_eq!(process.wait().code(), Some(0));
    assert_eq!(process.join().unwrap(), 7);
    before.ends();
    unprepare();
}

struct Refuses;

impl Serialize for Refuses {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it will not be bytes"))
    }
}

impl<'de> Deserialize<'de> for Refuses {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("it will not be made"))
    }
}

#[mp::process_fn]
fn take(_refuses: Refuses) {}

fn a_preparation_that_cannot_be_encoded_changes_nothing() {
    mp::set_forkserver_preload::<prepare>((10, calls())).unwrap();
    get::<nothing>(());
    let before = servers();
    let error = mp::set_forkserver_preload::<take>(Refuses).unwrap_err();
    assert!(matches!(error, Error::Encode(_)), "{error:?}");
    assert_eq!(get::<look>(3).0, Some(9));
    assert_eq!(servers(), before);
    unprepare();
}

/// Changes all that a child has from elsewhere.
#[mp::process_fn]
fn change_surroundings() {
    set_variable("PREPARED", Some("by the server"));
    set_variable("PATH", Some("changed by the server"));
    set_current_dir("/").unwrap();
}

#[mp::process_fn]
fn surroundings() -> (Vec<(String, String)>, PathBuf) {
    let mut variables: Vec<_> = std::env::vars().collect();
    variables.sort();
    (variables, std::env::current_dir().unwrap())
}

fn surroundings_are_those_of_who_asks_whatever_was_prepared() {
    mp::set_forkserver_preload::<change_surroundings>(()).unwrap();
    for change in [None, Some("than the server"), None] {
        set_variable("LATER", change);
        let ((its, its_directory), (mine, my_directory)) =
            (get::<surroundings>(()), surroundings());
        let others: Vec<_> = its.iter().filter(|pair| !mine.contains(pair)).collect();
        assert!(
            others.is_empty(),
            "it has what its parent does not have: {others:?}"
        );
        assert_eq!((its.len(), its_directory), (mine.len(), my_directory));
    }
    unprepare();
}

static HOOKED: OnceLock<Atomic<u64>> = OnceLock::new();

extern "C" fn count_hook() {
    if let Some(hooked) = HOOKED.get() {
        hooked.fetch_add(1, Ordering::SeqCst);
    }
}

thread_local! {
    static LOCAL: std::cell::RefCell<Option<Counts>> = const { std::cell::RefCell::new(None) };
}

struct Counts(Atomic<u64>);

impl Drop for Counts {
    fn drop(&mut self) {
        self.0.fetch_add(1000, Ordering::SeqCst);
    }
}

/// Says something without an end, and leaves something to be done at the exit.
#[mp::process_fn]
fn say(hooked: Atomic<u64>) {
    print!("of the server");
    multiproc_tests::clib::c_print("(of the server)");
    LOCAL.with(|local| *local.borrow_mut() = Some(Counts(hooked.clone())));
    HOOKED.set(hooked).unwrap();
    at_exit(count_hook);
}

#[mp::process_fn]
fn say_more() {
    print!("of a child");
}

fn nothing_of_the_preparation_is_said_or_done_twice() {
    let hooked = calls();
    mp::set_forkserver_preload::<say>(hooked.clone()).unwrap();
    for _ in 0..3 {
        let builder = by(StartMethod::Forkserver).stdout(mp::Stdio::piped());
        let process = builder.spawn::<say_more>(()).unwrap();
        let text = std::io::read_to_string(process.take_stdout().unwrap()).unwrap();
        process.join().unwrap();
        assert_eq!(text, "of a child");
        assert_eq!(
            hooked.load(Ordering::SeqCst),
            0,
            "the exit of a child is none of the server"
        );
    }
    unprepare();
}

#[mp::process_fn]
fn use_seeds() {
    std::hint::black_box(RandomState::new());
}

#[mp::process_fn]
fn hashes() -> Vec<u64> {
    (0..4).map(|_| RandomState::new().hash_one(0)).collect()
}

fn seeds_that_the_preparation_has_used_are_not_the_childrens() {
    mp::set_forkserver_preload::<use_seeds>(()).unwrap();
    let processes: Vec<_> = (0..20).map(|_| begin::<hashes>(())).collect();
    let all: Vec<_> = processes
        .into_iter()
        .flat_map(|process| process.join().unwrap())
        .collect();
    let number = all.len();
    assert_eq!(all.into_iter().collect::<HashSet<_>>().len(), number);
    unprepare();
}

static FROM_CHILDREN: AtomicU32 = AtomicU32::new(0);

/// Starts children, by all methods.
#[mp::process_fn]
fn start_some() {
    for method in available() {
        let (_, _, changes) = value::<look>(method, 1);
        FROM_CHILDREN.fetch_add(changes + 1, Ordering::SeqCst);
    }
}

#[mp::process_fn]
fn from_children() -> (u32, usize, String) {
    let children = mp::active_children().len();
    (
        FROM_CHILDREN.load(Ordering::SeqCst),
        children,
        mp::current_process().name().to_owned(),
    )
}

fn a_preparation_may_start_children() {
    mp::set_forkserver_preload::<start_some>(()).unwrap();
    for _ in 0..2 {
        let (number, children, name) = get::<from_children>(());
        assert_eq!((number, children), (3, 0));
        assert!(
            name.starts_with("Process-") && !name.contains(':'),
            "{name}"
        );
    }
    unprepare();
}

/// The pids of the server of this process and of those of its children.
#[mp::process_fn]
fn server_below(depth: u32) -> Vec<u32> {
    let below = if depth > 0 {
        get::<server_below>(depth - 1)
    } else {
        Vec::new()
    };
    get::<nothing>(());
    let mine = servers();
    assert_eq!(mine.len(), 1, "{mine:?}");
    mine.iter().map(|server| server.pid).chain(below).collect()
}

fn children_have_servers_of_their_own() {
    let all = get::<server_below>(2);
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), 3, "{all:?}");
    // They end with their owners.
    let gone = || {
        all.iter()
            .all(|pid| entry(*pid).is_none_or(|entry| entry.zombie))
    };
    assert!(eventually(|| gone().then_some(())).is_some());
}

fn a_server_that_was_killed_is_made_again() {
    let calls = calls();
    mp::set_forkserver_preload::<prepare>((10, calls.clone())).unwrap();
    for times in 1..=5 {
        assert_eq!(get::<look>(3), (Some(9), get::<look>(3).1, 100));
        assert_eq!(calls.load(Ordering::SeqCst), times);
        let server = server();
        server.kill();
        // Whether the next start comes before the end or after it.
        if times % 2 == 0 {
            server.ends();
        }
    }
    unprepare();
}

#[mp::process_fn]
fn end_with(begun: Event, end: Event, how: u8) -> u8 {
    begun.set();
    end.wait().unwrap();
    match how {
        0 => 7,
        1 => std::process::exit(9),
        2 => panic!("on purpose"),
        _ => std::process::abort(),
    }
}

fn children_keep_their_status_when_the_server_is_killed() {
    for early in [false, true] {
        let mut running = Vec::new();
        for how in 0..5 {
            let (begun, end) = (Event::new().unwrap(), Event::new().unwrap());
            let builder = by(StartMethod::Forkserver).stderr(mp::Stdio::null());
            let process = builder
                .spawn::<end_with>((begun.clone(), end.clone(), how))
                .unwrap();
            begun.wait().unwrap();
            running.push((process, end));
        }
        let server = server();
        if early {
            server.kill();
            server.ends();
        }
        assert!(
            running.iter().all(|(process, _)| process.is_alive()),
            "they live on"
        );
        for (how, (process, end)) in running.iter().enumerate() {
            match how {
                4 => process.kill().unwrap(),
                _ => end.set(),
            }
        }
        for (how, (process, _end)) in running.into_iter().enumerate() {
            if !early && how == 0 {
                server.kill();
            }
            let pid = process.id();
            let outcome = process.join();
            match (how, &outcome) {
                (0, Ok(7)) => continue,
                (1, Err(ProcessError::Exited { code: 9, .. })) => {}
                (2, Err(ProcessError::Panicked(_))) => {}
                (3, Err(ProcessError::Signaled { signal: 6, .. })) => {}
                (4, Err(ProcessError::Signaled { signal: 9, .. })) => {}
                _ => panic!("{how}, {early}: {outcome:?}"),
            }
            assert_eq!(outcome.unwrap_err().subject().pid, pid);
        }
        get::<nothing>(());
    }
}

#[mp::process_fn]
fn double(number: u64) -> u64 {
    2 * number
}

/// A thread kills each server as soon as there is one, while this one starts children: each start is made by some server, or
/// says that servers die, and each child that was started gives its value.
fn a_server_may_be_killed_at_any_moment() {
    let before = mp::arena_stats().unwrap();
    let done = AtomicBool::new(false);
    let (mut values, mut refusals) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut moment = 1;
            while !done.load(Ordering::Relaxed) {
                for server in servers() {
                    // Not before some of its life has passed, of another length each time.
                    moment = (moment * 7 + 1) % 200_000;
                    for step in 0..moment {
                        std::hint::black_box(step);
                    }
                    let pid = rustix::process::Pid::from_raw(server.pid.cast_signed()).unwrap();
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            }
        });
        while values < 200 && refusals < 200 {
            match by(StartMethod::Forkserver).spawn::<double>(values) {
                Ok(process) => {
                    assert_eq!(process.join().unwrap(), 2 * values);
                    values += 1;
                }
                Err(error) => {
                    let error = error.to_string();
                    assert!(error.contains("fork server"), "{error}");
                    refusals += 1;
                }
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(values > 0, "{refusals} refusals");
    // A copy that finds that it is not wanted ends by itself.
    get::<nothing>(());
    let after = || mp::arena_stats().unwrap();
    assert!(
        eventually(|| (after() == before).then_some(())).is_some(),
        "{before:?}, {:?}",
        after()
    );
}

fn a_server_that_is_killed_by_each_start_is_an_error() {
    mp::set_forkserver_preload::<fail>(3).unwrap();
    let error = refusal();
    assert!(matches!(error, Error::Start { .. }), "{error:?}");
    for words in ["`multiproc_tests.nothing`", "fork server died"] {
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
    unprepare();
}
