//! What a child has of its parent's memory, and what it does not: a copy has the statics as they were, and neither exit hooks,
//! thread-locals, children nor locks.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Seek, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use mp::{Event, Fd, Lock, Process, Queue, RLock, Semaphore, StartMethod, Value};
use multiproc_tests::clib::{at_exit, exit_at_once, fork};
use multiproc_tests::leaks::nothing;
use multiproc_tests::methods;
use multiproc_tests::methods::{available, by, named, start, value};
use multiproc_tests::processes::Watched;
use rustix::fs::{MemfdFlags, memfd_create};

methods! {
    statics_are_those_of_the_parent_in_a_copy_only,
    hash_seeds_differ,
    exit_hooks_are_run_by_who_set_them,
    thread_locals_are_dropped_by_who_made_them,
    locals_of_the_parent_are_dropped_once,
    locks_of_the_parent_are_not_the_childs,
    permits_of_the_parent_are_not_the_childs,
    handles_in_statics_work_in_a_copy,
    handles_in_statics_outlive_those_of_the_parent,
    connections_in_statics_are_closed_in_a_copy,
    processes_in_statics_are_nobody_elses_children,
    daemons_of_the_parent_live_on_when_a_child_ends,
    copies_that_the_library_knows_nothing_of_end_alone,
    children_of_a_child_that_was_copied_are_its_own,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);
static TEXT: OnceLock<String> = OnceLock::new();

#[mp::process_fn]
fn statics() -> (u32, Option<String>) {
    (NUMBER.fetch_add(1, Ordering::SeqCst), TEXT.get().cloned())
}

fn statics_are_those_of_the_parent_in_a_copy_only(method: StartMethod) {
    assert_eq!(value::<statics>(method, ()), (0, None));
    NUMBER.store(7, Ordering::SeqCst);
    TEXT.set("set by the parent".to_owned()).unwrap();
    let expected = match method {
        StartMethod::Fork => (7, TEXT.get().cloned()),
        _ => (0, None),
    };
    for _ in 0..2 {
        assert_eq!(value::<statics>(method, ()), expected);
    }
    assert_eq!(NUMBER.load(Ordering::SeqCst), 7, "a child changes its own");
}

/// What some new hashers make of the same.
#[mp::process_fn]
fn hashes() -> Vec<u64> {
    (0..3).map(|_| RandomState::new().hash_one(0)).collect()
}

fn hash_seeds_differ(method: StartMethod) {
    let mut all = hashes();
    for _ in 0..4 {
        all.extend(value::<hashes>(method, ()));
        all.extend(hashes());
    }
    let processes: Vec<_> = (0..4).map(|_| start::<hashes>(method, ())).collect();
    all.extend(
        processes
            .into_iter()
            .flat_map(|process| process.join().unwrap()),
    );
    let number = all.len();
    assert_eq!(all.into_iter().collect::<HashSet<_>>().len(), number);
}

/// Where it is written what happens; a copy has that of its parent.
static LOG: OnceLock<File> = OnceLock::new();

fn log(text: &str) {
    if let Some(mut log) = LOG.get() {
        // One write, so that lines do not mix.
        log.write_all(format!("{text} {}\n", std::process::id()).as_bytes())
            .unwrap();
    }
}

fn log_to(file: Fd<File>) {
    let _ = LOG.set(file.into_inner());
}

fn log_file() -> (File, Fd<File>) {
    let file = File::from(memfd_create("log", MemfdFlags::CLOEXEC).unwrap());
    let passed = file.try_clone().unwrap().into();
    (file, passed)
}

/// The lines of a log.
fn logged(mut file: File) -> Vec<String> {
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    text.lines().map(str::to_owned).collect()
}

extern "C" fn parents_hook() {
    log("parent");
}

extern "C" fn childs_hook() {
    log("child");
}

/// Sets a hook, and ends in some way.
#[mp::process_fn]
fn set_hook(file: Fd<File>, how: u8) -> u32 {
    log_to(file);
    at_exit(childs_hook);
    match how {
        0 => std::process::id(),
        1 => std::process::exit(0),
        _ => panic!("with a hook"),
    }
}

/// Sets a hook, and starts a child by a method that does so; gives the pids of both.
#[mp::process_fn]
fn set_hook_above(method: &str, file: Fd<File>, how: u8) -> [u32; 2] {
    let passed = file.try_clone().unwrap().into();
    log_to(file);
    at_exit(parents_hook);
    let builder = by(named(method)).stderr(mp::Stdio::null());
    let process = builder.spawn::<set_hook>((passed, how)).unwrap();
    process.wait();
    [std::process::id(), process.id()]
}

fn exit_hooks_are_run_by_who_set_them(method: StartMethod) {
    for first in available() {
        for how in 0..3 {
            let (file, passed) = log_file();
            let [parent, child] = value::<set_hook_above>(first, (method.name(), passed, how));
            let expected = [format!("child {child}"), format!("parent {parent}")];
            assert_eq!(logged(file), expected, "{first}, {how}");
        }
    }
}

/// Tells its end.
struct Told(&'static str);

impl Drop for Told {
    fn drop(&mut self) {
        log(self.0);
    }
}

thread_local! {
    static PARENTS: RefCell<Option<Told>> = const { RefCell::new(None) };
    static CHILDS: RefCell<Option<Told>> = const { RefCell::new(None) };
}

#[mp::process_fn]
fn make_local(file: Fd<File>, thread: bool) -> u32 {
    log_to(file);
    let make = || CHILDS.with(|local| *local.borrow_mut() = Some(Told("child")));
    if thread {
        std::thread::spawn(make).join().unwrap();
    } else {
        make();
    }
    std::process::id()
}

/// Has a thread-local, and starts a child by a method that has one, too.
#[mp::process_fn]
fn make_local_above(method: &str, file: Fd<File>, thread: bool) -> [u32; 2] {
    let passed = file.try_clone().unwrap().into();
    log_to(file);
    PARENTS.with(|local| *local.borrow_mut() = Some(Told("parent")));
    let child = value::<make_local>(named(method), (passed, thread));
    [std::process::id(), child]
}

fn thread_locals_are_dropped_by_who_made_them(method: StartMethod) {
    for thread in [true, false] {
        let (file, passed) = log_file();
        let [parent, child] =
            value::<make_local_above>(StartMethod::Spawn, (method.name(), passed, thread));
        let expected = [format!("child {child}"), format!("parent {parent}")];
        assert_eq!(logged(file), expected, "in a thread: {thread}");
    }
}

/// Ends in some way.
#[mp::process_fn]
fn end(how: u8) {
    match how {
        0 => {}
        1 => std::process::exit(0),
        2 => panic!("of the child"),
        _ => std::process::abort(),
    }
}

#[mp::process_fn]
fn have_local(method: &str, file: Fd<File>, how: u8) -> u32 {
    log_to(file);
    let _told = Told("local");
    let builder = by(named(method)).stderr(mp::Stdio::null());
    builder.spawn::<end>(how).unwrap().wait();
    std::process::id()
}

fn locals_of_the_parent_are_dropped_once(method: StartMethod) {
    for how in 0..4 {
        let (file, passed) = log_file();
        let parent = value::<have_local>(StartMethod::Spawn, (method.name(), passed, how));
        assert_eq!(logged(file), [format!("local {parent}")], "{how}");
    }
}

/// Whether a child can have what its parent holds: not at once, and then when the parent lets go.
#[mp::process_fn]
fn want(lock: Lock, rlock: RLock, number: Value<u64>, tried: Event) -> [bool; 4] {
    let refused = [
        lock.try_lock().is_err(),
        rlock.try_lock().is_err(),
        number.try_lock().is_err(),
    ];
    tried.set();
    let (_lock, _rlock) = (lock.lock().unwrap(), rlock.lock().unwrap());
    *number.lock().unwrap() += 1;
    [refused[0], refused[1], refused[2], true]
}

fn locks_of_the_parent_are_not_the_childs(method: StartMethod) {
    let (lock, rlock) = (Lock::new().unwrap(), RLock::new().unwrap());
    let (number, tried) = (Value::new(0_u64).unwrap(), Event::new().unwrap());
    let held = (
        lock.lock().unwrap(),
        rlock.lock().unwrap(),
        number.lock().unwrap(),
    );
    // One that ends and one that is killed while this process has the locks: neither is their owner.
    value::<nothing>(method, ());
    let (begun, end) = (Event::new().unwrap(), Event::new().unwrap());
    let killed = start::<wait>(method, (begun.clone(), end));
    begun.wait().unwrap();
    killed.kill().unwrap();
    killed.join().unwrap_err();
    let handles = (lock.clone(), rlock.clone(), number.clone(), tried.clone());
    let process = start::<want>(method, handles);
    tried.wait().unwrap();
    drop(held);
    assert_eq!(process.join().unwrap(), [true; 4]);
    assert!(lock.lock().is_ok() && rlock.lock().is_ok());
    assert_eq!(number.get().unwrap(), 1);
}

#[mp::process_fn]
fn wait(begun: Event, end: Event) -> u8 {
    begun.set();
    end.wait().unwrap();
    7
}

fn permits_of_the_parent_are_not_the_childs(method: StartMethod) {
    let semaphore = Semaphore::new(2).unwrap();
    let permit = semaphore.acquire().unwrap();
    for how in 0..4 {
        let builder = by(method).stderr(mp::Stdio::null());
        builder.spawn::<end>(how).unwrap().wait();
        assert_eq!(mp::arena_stats().unwrap().objects, 1);
        assert_eq!(semaphore.value(), 1, "{how}");
    }
    drop(permit);
    assert_eq!(semaphore.value(), 2);
}

/// Handles that a copy finds.
static HANDLES: Mutex<Option<Handles>> = Mutex::new(None);

/// The events are that a copy has begun, and that it may go on.
type Handles = (Queue<String>, Lock, Event, Event);

/// Uses what it finds: when this process says so, if it is to wait.
#[mp::process_fn]
fn use_found(wait: bool) -> bool {
    let found = HANDLES.lock().unwrap();
    let Some((queue, lock, begun, go)) = &*found else {
        return false;
    };
    begun.set();
    if wait {
        go.wait().unwrap();
    }
    let _guard = lock.lock().unwrap();
    queue.put("found".repeat(100)).unwrap();
    true
}

fn keep_handles() -> Handles {
    let handles = (
        Queue::new().unwrap(),
        Lock::new().unwrap(),
        Event::new().unwrap(),
        Event::new().unwrap(),
    );
    *HANDLES.lock().unwrap() = Some(handles.clone());
    handles
}

fn handles_in_statics_work_in_a_copy(method: StartMethod) {
    let (queue, lock, ..) = keep_handles();
    let found = method == StartMethod::Fork;
    for _ in 0..3 {
        assert_eq!(value::<use_found>(method, false), found);
        assert_eq!(queue.try_get().is_ok(), found);
        assert!(lock.try_lock().is_ok());
    }
    *HANDLES.lock().unwrap() = None;
    drop(lock);
    assert_eq!(
        mp::arena_stats().unwrap().objects,
        1,
        "copies count no more when they have ended"
    );
}

/// The parent drops its handles, and makes others where the objects were.
fn handles_in_statics_outlive_those_of_the_parent(method: StartMethod) {
    let (queue, _, begun, go) = keep_handles();
    let process = start::<use_found>(method, true);
    if method != StartMethod::Fork {
        *HANDLES.lock().unwrap() = None;
        assert!(!process.join().unwrap());
        return;
    }
    begun.wait().unwrap();
    *HANDLES.lock().unwrap() = None;
    drop((queue, begun));
    let others: Vec<Queue<String>> = (0..50).map(|_| Queue::new().unwrap()).collect();
    let locks: Vec<Lock> = (0..50).map(|_| Lock::new().unwrap()).collect();
    let guards: Vec<_> = locks.iter().map(|lock| lock.lock().unwrap()).collect();
    go.set();
    assert!(process.join().unwrap());
    assert!(others.iter().all(Queue::is_empty), "it has used its own");
    drop(guards);
}

static CONNECTION: Mutex<Option<mp::Connection<u8, u8>>> = Mutex::new(None);

/// What becomes of a connection that is found.
#[mp::process_fn]
fn use_connection(begun: Event, end: Event) -> Option<String> {
    begun.set();
    end.wait().unwrap();
    let found = CONNECTION.lock().unwrap().take();
    found.map(|connection| {
        format!(
            "{:?}",
            connection.send(7).map_err(|error| error.to_string())
        )
    })
}

fn connections_in_statics_are_closed_in_a_copy(method: StartMethod) {
    let (mine, other) = mp::pipe().unwrap();
    *CONNECTION.lock().unwrap() = Some(other);
    let (begun, end) = (Event::new().unwrap(), Event::new().unwrap());
    let process = start::<use_connection>(method, (begun.clone(), end.clone()));
    begun.wait().unwrap();
    assert!(!mine.poll(Duration::ZERO).unwrap());
    *CONNECTION.lock().unwrap() = None;
    // The child has not ended, and has no copy that would keep the connection open.
    assert_eq!(mine.recv(), Err(mp::RecvError::Closed));
    end.set();
    let told = process.join().unwrap();
    assert_eq!(told.is_some(), method == StartMethod::Fork);
    assert!(told.is_none_or(|told| told.starts_with("Err(")));
}

static SIBLING: Mutex<Option<Process<u8>>> = Mutex::new(None);

/// Does all that can be done with a process that is found, which is another one's child.
#[mp::process_fn]
fn use_process(alive: Event, go: Event) -> Option<bool> {
    let found = SIBLING.lock().unwrap().take()?;
    assert!(mp::active_children().is_empty());
    let looks = catch_unwind(AssertUnwindSafe(|| {
        assert!(found.is_alive());
        assert_eq!(found.exit_code(), None);
        assert_eq!(found.wait_timeout(Duration::from_millis(1)), None);
    }));
    alive.set();
    go.wait().unwrap();
    let _ = catch_unwind(AssertUnwindSafe(|| {
        (found.wait(), found.exit_code(), found.is_alive())
    }));
    let joined = catch_unwind(AssertUnwindSafe(|| found.join()));
    if let Ok(Ok(value)) = joined {
        assert_eq!(value, 7);
    }
    // Children of its own are looked after as ever.
    value::<nothing>(StartMethod::Spawn, ());
    Some(looks.is_ok())
}

/// It is no error of the parent's that the value was looked for elsewhere.
fn processes_in_statics_are_nobody_elses_children(method: StartMethod) {
    let (begun, end) = (Event::new().unwrap(), Event::new().unwrap());
    *SIBLING.lock().unwrap() = Some(start::<wait>(method, (begun.clone(), end.clone())));
    begun.wait().unwrap();
    let (alive, go) = (Event::new().unwrap(), Event::new().unwrap());
    let process = by(method)
        .stderr(mp::Stdio::null())
        .spawn::<use_process>((alive.clone(), go.clone()))
        .unwrap();
    if method == StartMethod::Fork {
        alive.wait().unwrap();
    }
    end.set();
    // The sibling has ended, but this process has not taken its status.
    let sibling = SIBLING.lock().unwrap().take().unwrap();
    assert_eq!(mp::wait(&[&sibling], None).unwrap(), [0]);
    go.set();
    let looks = process.join().unwrap();
    assert_eq!(looks.is_some(), method == StartMethod::Fork);
    assert_eq!(sibling.exit_code(), Some(0));
    assert_eq!(sibling.join().unwrap(), 7);
}

/// Has a daemon while a child ends in some way; tells whether the daemon runs then.
#[mp::process_fn]
fn have_daemon(method: &str, how: u8) -> bool {
    let (begun, end) = (Event::new().unwrap(), Event::new().unwrap());
    let daemon = by(StartMethod::Spawn)
        .daemon(true)
        .spawn::<wait>((begun.clone(), end.clone()))
        .unwrap();
    begun.wait().unwrap();
    let other = start::<wait>(StartMethod::Spawn, (Event::new().unwrap(), end.clone()));
    let builder = by(named(method)).stderr(mp::Stdio::null());
    builder.spawn::<super_end>(how).unwrap().wait();
    let alive = daemon.is_alive() && other.is_alive();
    end.set();
    alive && other.join() == Ok(7) && daemon.join() == Ok(7)
}

/// Ends with children of its own, which are neither its parent's.
#[mp::process_fn]
fn super_end(how: u8) {
    let begun = Event::new().unwrap();
    let forever = Event::new().unwrap();
    let daemon = by(StartMethod::Spawn)
        .daemon(true)
        .spawn::<wait>((begun.clone(), forever));
    begun.wait().unwrap();
    drop(daemon.unwrap());
    end(how);
}

fn daemons_of_the_parent_live_on_when_a_child_ends(method: StartMethod) {
    for how in 0..4 {
        assert!(
            value::<have_daemon>(StartMethod::Spawn, (method.name(), how)),
            "{how}"
        );
    }
    let gone = || (mp::arena_stats().unwrap().objects == 0).then_some(());
    assert!(multiproc_tests::processes::eventually(gone).is_some());
}

/// Copies itself, with a child and a hook; tells whether the copy's end changed something.
#[mp::process_fn]
fn copy(file: Fd<File>) -> (u32, bool) {
    log_to(file);
    at_exit(childs_hook);
    let (begun, end) = (Event::new().unwrap(), Event::new().unwrap());
    let daemon = by(StartMethod::Spawn)
        .daemon(true)
        .spawn::<wait>((begun.clone(), end.clone()))
        .unwrap();
    begun.wait().unwrap();
    // The first one ends without any ado, the second one as a program does.
    for ado in [false, true] {
        match fork() {
            None if ado => std::process::exit(0),
            None => exit_at_once(0),
            Some(pid) => {
                let ended = Watched::new(pid);
                ended.ends();
                let pid = rustix::process::Pid::from_raw(pid.cast_signed());
                rustix::process::waitpid(pid, rustix::process::WaitOptions::empty()).unwrap();
            }
        }
    }
    let alive = daemon.is_alive();
    end.set();
    (std::process::id(), alive && daemon.join() == Ok(7))
}

fn copies_that_the_library_knows_nothing_of_end_alone(method: StartMethod) {
    let (file, passed) = log_file();
    let (pid, alive) = value::<copy>(method, passed);
    assert!(alive);
    let lines = logged(file);
    assert_eq!(
        lines.len(),
        2,
        "the copy's, as the system has it, and its own: {lines:?}"
    );
    assert_eq!(lines[1], format!("child {pid}"));
}

/// Starts children by a method, twice, and itself again by it; gives how many processes that were.
#[mp::process_fn]
fn multiply(method: &str, depth: u32) -> u32 {
    if depth == 0 {
        return 1;
    }
    let processes: Vec<_> = (0..2)
        .map(|_| start::<multiply>(named(method), (method, depth - 1)))
        .collect();
    assert!(mp::active_children().len() <= 2);
    1 + processes
        .into_iter()
        .map(|process| process.join().unwrap())
        .sum::<u32>()
}

fn children_of_a_child_that_was_copied_are_its_own(method: StartMethod) {
    assert_eq!(value::<multiply>(method, (method.name(), 4)), 31);
}
