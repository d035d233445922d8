//! A child that is stopped (SIGSTOP), whatever it is at: everything with a deadline ends, and so does its parent.

mod common_shm;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use common_shm::Random;
use mp::{
    AcquireError, BarrierError, LockError, Pool, ProcessError, RecvError, StartMethod, TaskError,
    TryGetError, TryPutError,
};
use multiproc_tests::methods;
use multiproc_tests::methods::{by, value};
use multiproc_tests::processes::{Stopped, eventually, fork_server, within};
use multiproc_tests::trees::{self, number};
use multiproc_tests::watchdog::LIMIT;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

methods! {
    deadlines_pass_while_a_child_is_stopped,
    deadlines_pass_wherever_a_child_is_stopped,
    a_pool_does_without_a_worker_that_is_stopped,
    a_pool_with_a_worker_that_is_stopped_ends,
    a_parent_ends_whose_daemons_are_stopped;
    once:
    deadlines_pass_while_the_fork_server_is_stopped,
    a_parent_ends_whose_fork_server_is_stopped,
}

/// How long a deadline is away.
const SHORT: Duration = Duration::from_millis(2);

/// One of each thing.
#[derive(Clone, Serialize, Deserialize)]
struct Things {
    lock: mp::Lock,
    rlock: mp::RLock,
    value: mp::Value<u64>,
    array: mp::Array<u64>,
    semaphore: mp::Semaphore,
    bounded: mp::BoundedSemaphore,
    condition: mp::Condition,
    barrier: mp::Barrier,
    event: mp::Event,
    queue: mp::Queue<Vec<u8>>,
    full: mp::Queue<u64>,
    joinable: mp::JoinableQueue<u64>,
}

impl Things {
    fn new() -> mp::Result<Self> {
        let this = Self {
            lock: mp::Lock::new()?,
            rlock: mp::RLock::new()?,
            value: mp::Value::new(0)?,
            array: mp::Array::from_slice(&[0; 3])?,
            semaphore: mp::Semaphore::new(1)?,
            bounded: mp::BoundedSemaphore::new(1)?,
            condition: mp::Condition::new()?,
            barrier: mp::Barrier::new(2)?,
            event: mp::Event::new()?,
            queue: mp::Queue::new()?,
            full: mp::Queue::bounded(1)?,
            joinable: mp::JoinableQueue::new()?,
        };
        this.full.put(0)?;
        this.joinable.put(0)?;
        Ok(this)
    }
}

/// Has all that can be had, until it is told to go on.
#[mp::process_fn]
fn hold(things: Things, peer: mp::Connection<u8, u8>, begun: mp::Event, go: mp::Event) -> u64 {
    let lock = things.lock.lock().expect("it is free");
    let rlock = things.rlock.lock().expect("it is free");
    let value = things.value.lock().expect("it is free");
    let array = things.array.lock().expect("it is free");
    let permit = things.semaphore.acquire().expect("there is one");
    let bounded = things.bounded.acquire().expect("there is one");
    begun.set();
    go.wait().expect("waiting");
    drop((lock, rlock, value, array, permit, bounded));
    peer.send(1).expect("sending");
    5
}

/// What a process has that has waited stays, so that this is done by another one.
fn deadlines_pass_while_a_child_is_stopped(method: StartMethod) {
    value::<wait_for_a_stopped_child>(StartMethod::Spawn, method.name());
}

fn deadlines_pass_wherever_a_child_is_stopped(method: StartMethod) {
    value::<wait_for_a_child_that_is_stopped_anywhere>(StartMethod::Spawn, method.name());
}

#[mp::process_fn]
fn wait_for_a_stopped_child(method: &str) {
    let things = Things::new().expect("making things");
    let (mine, its) = mp::pipe::<u8, u8>().expect("making a pipe");
    let (begun, go) = (
        mp::Event::new().expect("an event"),
        mp::Event::new().expect("an event"),
    );
    let args = (things.clone(), its, begun.clone(), go.clone());
    let child = trees::by(method).spawn::<hold>(args).expect("starting");
    begun.wait().expect("waiting");
    let stopped = Stopped::new(child.id());

    assert_eq!(child.wait_timeout(SHORT), None);
    assert!(child.is_alive());
    let ready = mp::wait(&[&child, &mine, &things.queue, &things.event], Some(SHORT));
    assert!(ready.expect("waiting").is_empty());
    assert!(matches!(
        things.lock.lock_timeout(SHORT),
        Err(LockError::TimedOut)
    ));
    assert!(matches!(
        things.rlock.lock_timeout(SHORT),
        Err(LockError::TimedOut)
    ));
    assert!(matches!(
        things.value.lock_timeout(SHORT),
        Err(LockError::TimedOut)
    ));
    assert!(matches!(
        things.array.lock_timeout(SHORT),
        Err(LockError::TimedOut)
    ));
    let acquired = things.semaphore.acquire_timeout(SHORT).map(drop);
    assert_eq!(acquired, Err(AcquireError::TimedOut));
    let acquired = things.bounded.acquire_timeout(SHORT).map(drop);
    assert_eq!(acquired, Err(AcquireError::TimedOut));
    let own = mp::Lock::new().expect("making a lock");
    let guard = own.lock().expect("it is free");
    let (guard, waited) = things
        .condition
        .wait_timeout(guard, SHORT)
        .expect("it is not hurt");
    assert!(waited.timed_out());
    drop(guard);
    assert_eq!(
        things.barrier.wait_timeout(SHORT).map(drop),
        Err(BarrierError::TimedOut)
    );
    assert!(!things.event.wait_timeout(SHORT).expect("waiting"));
    assert!(matches!(
        things.queue.get_timeout(SHORT),
        Err(TryGetError::Empty)
    ));
    assert!(matches!(
        things.full.put_timeout(7, SHORT),
        Err(TryPutError::Full(7))
    ));
    assert!(!things.joinable.join_timeout(SHORT));
    assert_eq!(mine.recv_timeout(SHORT), Err(RecvError::TimedOut));
    assert!(!mine.poll(SHORT).expect("polling"));

    drop(stopped);
    go.set();
    assert_eq!(mine.recv().expect("receiving"), 1);
    assert_eq!(child.join().expect("it goes on"), 5);
}

/// Uses everything once, and is stopped at the point of a number that it is told, until it is told none.
#[mp::process_fn]
fn use_all(things: Things, peer: mp::Sender<Vec<u8>>, points: mp::Queue<u64>, done: mp::Event) {
    while let Ok(point) = points.get() {
        mp::__private::signal_at(point, Signal::STOP.as_raw());
        drop(things.lock.lock().expect("nobody dies"));
        drop(things.rlock.lock().expect("nobody dies"));
        *things.value.lock().expect("nobody dies") += 1;
        things.array.lock().expect("nobody dies")[1] += 1;
        drop(things.semaphore.acquire().expect("waiting"));
        drop(things.bounded.acquire().expect("waiting"));
        things.condition.notify_all();
        things.event.set();
        things.event.clear();
        // Of sizes that travel in different ways.
        for length in [1, 3000, 50_000] {
            let _ = things.queue.put(vec![1; length]);
            let _ = things.queue.try_get();
            peer.send(vec![1; length]).expect("somebody receives");
        }
        let _ = things.full.try_put(1);
        let _ = things.full.try_get();
        if things.joinable.try_get().is_ok() {
            let _ = things.joinable.task_done();
        }
        let _ = things.joinable.put(1);
        drop(mp::Value::new(1_u64));
        drop(mp::pipe::<u8, u8>());
        mp::__private::signal_at(0, 0);
        done.set();
    }
}

/// Lets a process go on when something else takes too long while it is stopped, and keeps what that was.
struct Doing {
    stopped: Mutex<Option<(&'static str, Instant, Stopped)>>,
    late: Mutex<BTreeSet<&'static str>>,
}

impl Doing {
    fn new() -> Arc<Self> {
        let this = Arc::new(Self {
            stopped: Mutex::default(),
            late: Mutex::default(),
        });
        let watched = Arc::downgrade(&this);
        let long = Duration::from_secs(number("MP_LONG", 20).into());
        thread::spawn(move || {
            while let Some(this) = watched.upgrade() {
                let mut stopped = this.stopped.lock().expect("nobody panics");
                if let Some((what, since, _)) = &*stopped
                    && since.elapsed() > long
                {
                    this.late.lock().expect("nobody panics").insert(what);
                    *stopped = None;
                }
                drop(stopped);
                drop(this);
                thread::sleep(Duration::from_millis(20));
            }
        });
        this
    }

    /// Does something while a process is stopped; gives back whether that is still so.
    fn act(&self, stopped: Stopped, what: &'static str, act: &dyn Fn()) -> Option<Stopped> {
        *self.stopped.lock().expect("nobody panics") = Some((what, Instant::now(), stopped));
        act();
        let stopped = self.stopped.lock().expect("nobody panics").take();
        stopped.map(|(_, _, stopped)| stopped)
    }
}

#[mp::process_fn]
fn wait_for_a_child_that_is_stopped_anywhere(method: &str) {
    let things = Things::new().expect("making things");
    let (tx, rx) = mp::channel::<Vec<u8>>().expect("making a channel");
    let (points, done) = (
        mp::Queue::new().expect("a queue"),
        mp::Event::new().expect("an event"),
    );
    let args = (things.clone(), tx, points.clone(), done.clone());
    let child = trees::by(method).spawn::<use_all>(args).expect("starting");
    // From here on this process has more threads.
    let doing = Doing::new();
    let own = mp::Lock::new().expect("making a lock");
    let guard = || own.lock().expect("it is free");
    let receive = || drop(rx.recv_timeout(SHORT));
    let mut acts: [(&str, &dyn Fn()); 15] = [
        ("Process::wait_timeout", &|| {
            assert!(child.wait_timeout(SHORT).is_none())
        }),
        ("mp::wait", &|| {
            drop(mp::wait(
                &[&child, &things.queue, &things.event],
                Some(SHORT),
            ))
        }),
        ("Lock::lock_timeout", &|| {
            drop(things.lock.lock_timeout(SHORT))
        }),
        ("RLock::lock_timeout", &|| {
            drop(things.rlock.lock_timeout(SHORT))
        }),
        ("Value::lock_timeout", &|| {
            drop(things.value.lock_timeout(SHORT))
        }),
        ("Array::lock_timeout", &|| {
            drop(things.array.lock_timeout(SHORT))
        }),
        ("Condition::wait_timeout", &|| {
            drop(things.condition.wait_timeout(guard(), SHORT))
        }),
        ("Event::wait_timeout", &|| {
            drop(things.event.wait_timeout(SHORT))
        }),
        ("Queue::put_timeout into a full one", &|| {
            drop(things.full.put_timeout(1, SHORT))
        }),
        ("Receiver::recv_timeout", &receive),
        // A transaction has no deadline: these wait for who is stopped in one.
        ("Semaphore::acquire_timeout", &|| {
            drop(things.semaphore.acquire_timeout(SHORT))
        }),
        ("BoundedSemaphore::acquire_timeout", &|| {
            drop(things.bounded.acquire_timeout(SHORT))
        }),
        ("Queue::put_timeout", &|| {
            drop(things.queue.put_timeout(vec![1; 50_000], SHORT))
        }),
        ("Queue::get_timeout", &|| {
            drop(things.queue.get_timeout(SHORT))
        }),
        ("JoinableQueue::join_timeout", &|| {
            let _ = things.joinable.join_timeout(SHORT);
        }),
    ];
    let acts = match number("MP_STOPPED_IN_TRANSACTIONS", 0) {
        0 => &mut acts[..10],
        _ => &mut acts[..],
    };
    // Other points in each run.
    let step = number("MP_STEP", 5).into();
    let first = 1 + Random::new().below(step);
    for point in (first..).step_by(step as usize) {
        points.put(point).expect("putting");
        let stops = eventually(|| {
            let stops = Stopped::is_stopped(child.id());
            (stops || done.is_set()).then_some(stops)
        });
        if !stops.expect("it stops, or is done") {
            assert!(point > 20, "it passed {point} points only");
            break;
        }
        let mut stopped = Some(Stopped::stopping_itself(child.id()));
        // Another one first each time: one that does not end is the last.
        acts.rotate_left(1);
        for (what, act) in &*acts {
            if let Some(still) = stopped.take() {
                stopped = doing.act(still, what, *act);
            }
        }
        drop(stopped);
        while !done.wait_timeout(SHORT).expect("waiting") {
            receive();
        }
        done.clear();
        while rx.poll(Duration::ZERO).expect("polling") {
            receive();
        }
    }
    points.shutdown().expect("shutting down");
    child.join().expect("it is not hurt");
    let late = doing.late.lock().expect("nobody panics");
    assert!(
        late.is_empty(),
        "what does not end while another process is stopped: {late:?}"
    );
}

#[mp::process_fn]
fn square(n: u64) -> u64 {
    n * n
}

#[mp::process_fn]
fn tell_and_park(pids: mp::Queue<u32>) {
    pids.put(std::process::id()).expect("putting");
    loop {
        thread::park();
    }
}

fn pool(method: StartMethod) -> Pool {
    let builder = Pool::builder().workers(2).start_method(method);
    let pool = builder.build().expect("making a pool");
    works(&pool);
    pool
}

#[track_caller]
fn works(pool: &Pool) {
    let squares = pool.map::<square>(0..100).expect("it works");
    assert!(squares.into_iter().eq((0..100).map(|n| n * n)));
}

fn a_pool_does_without_a_worker_that_is_stopped(method: StartMethod) {
    let pool = pool(method);
    // One that has nothing to do.
    let stopped = Stopped::new(pool.stats().workers[0].pid);
    works(&pool);
    drop(stopped);
    // One that has something to do, and whose time runs out.
    let pids = mp::Queue::new().expect("making a queue");
    let job = pool
        .job::<tell_and_park>()
        .timeout(Duration::from_millis(200));
    let task = job.submit(pids.clone()).expect("submitting");
    let stopped = Stopped::new(pids.get().expect("it begins"));
    assert!(matches!(task.get_timeout(SHORT), Err(TaskError::NotReady)));
    works(&pool);
    let error = task.get().expect_err("it takes too long");
    assert!(matches!(error, TaskError::TimedOut { .. }), "{error:?}");
    drop(stopped);
    works(&pool);
}

fn a_pool_with_a_worker_that_is_stopped_ends(method: StartMethod) {
    // Under `Fork`, a pool is made before there are threads; one at a time, then.
    let idle = pool(method);
    let stopped = Stopped::new(idle.stats().workers[0].pid);
    idle.terminate();
    drop((idle, stopped));
    let busy = pool(method);
    let pids = mp::Queue::new().expect("making a queue");
    let task = busy
        .submit::<tell_and_park>(pids.clone())
        .expect("submitting");
    let stopped = Stopped::new(pids.get().expect("it begins"));
    drop(busy);
    task.get().expect_err("the pool is gone");
    drop(stopped);
}

#[mp::process_fn]
fn begin_and_park(begun: mp::Event) {
    begun.set();
    loop {
        thread::park();
    }
}

#[mp::process_fn]
fn leave_stopped_daemons(method: &str) {
    for _ in 0..3 {
        let begun = mp::Event::new().expect("making an event");
        let builder = trees::by(method).daemon(true);
        let daemon = builder
            .spawn::<begin_and_park>(begun.clone())
            .expect("starting");
        // Who is stopped before that may have what another start needs.
        begun.wait().expect("waiting");
        std::mem::forget(Stopped::new(daemon.id()));
    }
}

fn a_parent_ends_whose_daemons_are_stopped(method: StartMethod) {
    let parent = by(method).spawn::<leave_stopped_daemons>(method.name());
    parent.expect("starting").join().expect("it ends");
}

#[mp::process_fn]
fn wait_for(go: mp::Event) -> u32 {
    go.wait().expect("waiting");
    5
}

fn deadlines_pass_while_the_fork_server_is_stopped() {
    let go = mp::Event::new().expect("making an event");
    let start = || by(StartMethod::Forkserver).spawn::<wait_for>(go.clone());
    let (ends, killed) = (start().expect("starting"), start().expect("starting"));
    let stopped = Stopped::new(fork_server().expect("there is one"));
    assert_eq!(ends.wait_timeout(SHORT), None);
    assert!(ends.is_alive() && killed.is_alive());
    killed.kill().expect("killing");
    go.set();
    // They end; nobody may be there to tell how.
    for child in [&ends, &killed] {
        let has_ended = || (child.wait_timeout(SHORT).is_some() || !child.is_alive()).then_some(());
        let _ = within(LIMIT / 20, has_ended);
    }
    drop(stopped);
    assert_eq!(ends.join().expect("it is not hurt"), 5);
    let error = killed.join().expect_err("it is killed");
    assert!(
        matches!(error, ProcessError::Signaled { signal: 9, .. }),
        "{error:?}"
    );
}

#[mp::process_fn]
fn leave_a_stopped_server(before: bool) {
    let go = mp::Event::new().expect("making an event");
    let daemon = by(StartMethod::Forkserver)
        .daemon(true)
        .spawn::<wait_for>(go.clone());
    let child = by(StartMethod::Forkserver).spawn::<wait_for>(go.clone());
    drop((daemon.expect("starting"), child.expect("starting")));
    if before {
        go.set();
    }
    std::mem::forget(Stopped::new(fork_server().expect("there is one")));
    go.set();
}

fn a_parent_ends_whose_fork_server_is_stopped() {
    for before in [false, true] {
        value::<leave_a_stopped_server>(StartMethod::Spawn, before);
    }
}
