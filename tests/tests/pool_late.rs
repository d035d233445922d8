//! Tasks that run late, whatever they are at: killed with all that they have started, their neighbours untouched.

mod common_harm;
mod common_shm;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use common_harm::{atomic, event, square, works};
use common_shm::LONG;
use mp::{OnError, Pool, TaskError};
use multiproc_tests::leaks::alone;
use multiproc_tests::processes::{Watched, eventually, marked};
use rustix::process::{Pid, Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};

/// What a task is at when its time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum At {
    Sleep,
    Spin,
    /// With SIGTERM ignored.
    Deaf,
    /// In a lock that nobody gives back.
    Lock,
    /// In the memory of all, again and again.
    Queue,
    Stopped,
    /// A process that the task waits for.
    Child,
    /// One that ignores signals.
    DeafChild,
    Grandchildren,
    /// Processes whose parent has ended.
    Orphans,
    /// A process of the library that outlives its parent otherwise.
    Process,
    Pool,
    /// Prints without end.
    Chatter,
}

/// Marks the programs that a task starts.
const MARK: &str = "MULTIPROC_TESTS_LATE";

/// Runs a script until it says something; it goes on then.
fn shell(script: &str, mark: &str) -> std::process::Child {
    let mut child = Command::new("sh")
        .args(["-c", script])
        .env(MARK, mark)
        .stdout(Stdio::piped())
        .spawn()
        .expect("starting a shell");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("it is piped");
    BufReader::new(stdout)
        .read_line(&mut line)
        .expect("reading");
    assert_eq!(line, "ready\n");
    child
}

/// Starts what it is at, says so, and never ends.
#[mp::process_fn]
fn be_at(at: At, mark: String, ready: mp::Event, lock: mp::Lock) {
    let wait_for = |script: &str| {
        let mut child = shell(script, &mark);
        ready.set();
        child.wait().expect("waiting for a child");
    };
    match at {
        At::Sleep => {}
        At::Spin => {
            ready.set();
            loop {
                std::hint::spin_loop();
            }
        }
        At::Deaf => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let _enter = runtime.as_ref().expect("making a runtime").enter();
            let terminate = tokio::signal::unix::SignalKind::terminate();
            let _ignored = tokio::signal::unix::signal(terminate).expect("handling SIGTERM");
            kill_process(getpid(), Signal::TERM).expect("signalling this process");
            ready.set();
            loop {
                thread::park();
            }
        }
        At::Lock => {
            let guard = lock.lock();
            ready.set();
            // Another process has it, or had it when it was killed.
            std::mem::forget(guard.or_else(mp::LockError::into_guard));
        }
        At::Queue => {
            let queue = mp::Queue::new().expect("making a queue");
            ready.set();
            loop {
                queue.put(vec![1_u8; 3000]).expect("putting");
                queue.get().expect("getting");
            }
        }
        At::Stopped => {
            ready.set();
            kill_process(getpid(), Signal::STOP).expect("signalling this process");
        }
        At::Child => wait_for("echo ready; exec sleep 1000"),
        At::DeafChild => wait_for("trap '' TERM INT HUP; echo ready; while :; do sleep 1; done"),
        At::Grandchildren => {
            wait_for(
                "sh -c 'sleep 1000 & sleep 1001; :' & sh -c 'sleep 1000; :' & echo ready; wait",
            );
        }
        At::Orphans => wait_for("(sleep 1000 & sleep 1001 &) ; echo ready"),
        At::Process => {
            let builder = mp::Builder::new().env(MARK, &mark);
            let child = builder
                .spawn::<sleep_forever>(ready.clone())
                .expect("spawning");
            child.wait();
        }
        At::Pool => {
            let pool = Pool::builder().workers(2).env(MARK, &mark).build();
            let pool = pool.expect("making a pool");
            let _ = pool.apply::<sleep_forever>(ready.clone());
        }
        At::Chatter => {
            ready.set();
            loop {
                eprintln!("chatter");
            }
        }
    }
    ready.set();
    loop {
        thread::park();
    }
}

#[mp::process_fn]
fn sleep_forever(ready: mp::Event) {
    ready.set();
    loop {
        thread::park();
    }
}

/// A neighbour, which must run once, to its end.
#[mp::process_fn]
fn wait_and_count(go: mp::Event, ran: mp::Atomic<u64>) -> u32 {
    ran.fetch_add(1, Ordering::Relaxed);
    go.wait().expect("waiting");
    mp::current_task().expect("it is one").attempt
}

/// Tells the late task's error, and how long it had, which is enough for it to get ready.
fn run_late(pool: &Pool, at: At, mark: &str) -> (TaskError, Duration) {
    let lock = mp::Lock::new().expect("making a lock");
    for allowed in [200, 1000, 5000, 20_000].map(Duration::from_millis) {
        let ready = event();
        let job = pool.job::<be_at>().timeout(allowed);
        let error = job.apply((at, mark.to_owned(), ready.clone(), lock.clone()));
        let error = error.expect_err("it never ends");
        if ready.is_set() {
            return (error, allowed);
        }
        assert!(matches!(error, TaskError::TimedOut { .. }), "{error:?}");
    }
    panic!("{at:?} is not ready after a long time");
}

fn late(at: At) {
    let mark = format!("{}-{at:?}", std::process::id());
    let pool = Pool::new(2).expect("making a pool");
    let (go, ran) = (event(), atomic());
    let neighbour = pool.submit::<wait_and_count>((go.clone(), ran.clone()));
    let neighbour = neighbour.expect("submitting");
    assert!(eventually(|| (ran.load(Ordering::Relaxed) == 1).then_some(())).is_some());
    for _ in 0..2 {
        let (error, allowed) = run_late(&pool, at, &mark);
        let TaskError::TimedOut {
            after,
            pid,
            worker,
            function,
            attempt: 0,
            ..
        } = error
        else {
            panic!("{error:?}");
        };
        assert_eq!(after, allowed);
        assert!(worker.starts_with("PoolWorker-"), "{worker}");
        assert!(function.ends_with("be_at"), "{function}");
        assert_ne!(pid, std::process::id());
        let gone = || marked(MARK, &mark).is_empty().then_some(());
        assert!(eventually(gone).is_some(), "{:?}", marked(MARK, &mark));
    }
    assert!(!neighbour.is_ready());
    go.set();
    assert_eq!(neighbour.get().expect("it is not hurt"), 0);
    assert_eq!(ran.load(Ordering::Relaxed), 1);
    works(&pool);
    let stats = pool.stats();
    assert!(stats.failed >= 2, "{stats:?}");
}

macro_rules! late {
    ($($name:ident = $at:ident),+ $(,)?) => {$(
        #[mp::test]
        fn $name() {
            alone(|| late(At::$at));
        }
    )+};
}

late! {
    a_task_that_sleeps = Sleep,
    a_task_that_spins = Spin,
    a_task_that_ignores_sigterm = Deaf,
    a_task_that_holds_a_lock = Lock,
    a_task_that_works_in_shared_memory = Queue,
    a_task_whose_worker_is_stopped = Stopped,
    a_task_that_waits_for_a_program = Child,
    a_task_that_waits_for_a_program_that_ignores_signals = DeafChild,
    a_task_with_grandchildren = Grandchildren,
    a_task_with_orphans = Orphans,
    a_task_with_a_process_of_the_library = Process,
    a_task_with_a_pool = Pool,
    a_task_that_prints_without_end = Chatter,
}

/// Sleeps for ever where it is told to.
#[mp::process_fn]
fn square_but(n: u64, forever: u64, ran: mp::Atomic<u64>) -> u64 {
    ran.fetch_add(1, Ordering::Relaxed);
    if n == forever {
        loop {
            thread::park();
        }
    }
    n * n
}

#[mp::test]
fn neighbours_in_the_same_chunk_are_done_by_others() {
    alone(|| {
        for workers in [1, 2] {
            let pool = Pool::new(workers).expect("making a pool");
            for chunk in [1, 10, 100] {
                let ran = atomic();
                let items = (0..100).map(|n| (n, 33, ran.clone()));
                let job = pool.job::<square_but>().chunk_size(chunk);
                let job = job.timeout(Duration::from_millis(300)).window(200);
                for (n, result) in (0..).zip(job.imap(items)) {
                    match result {
                        Err(TaskError::TimedOut { index, .. }) => assert_eq!((n, index), (33, 33)),
                        result => assert_eq!(result.expect("it is not hurt"), n * n),
                    }
                }
                assert_eq!(ran.load(Ordering::Relaxed), 100);
            }
            works(&pool);
        }
    });
}

#[mp::test]
fn a_map_that_goes_on_does_all_but_the_late_ones() {
    alone(|| {
        let pool = Pool::new(2).expect("making a pool");
        let ran = atomic();
        let items = (0..50).map(|n| (n, 20, ran.clone()));
        let job = pool.job::<square_but>().timeout(Duration::from_millis(300));
        let error = job
            .on_error(OnError::Continue)
            .map(items)
            .expect_err("one is late");
        assert!(
            matches!(error, TaskError::TimedOut { index: 20, .. }),
            "{error:?}"
        );
        assert_eq!(ran.load(Ordering::Relaxed), 50);
        works(&pool);
    });
}

#[mp::test]
fn timeouts_are_no_deaths_that_are_tried_again() {
    alone(|| {
        let builder = Pool::builder().workers(1).retries(5);
        let builder = builder.task_timeout(Duration::from_millis(200));
        let pool = builder.build().expect("making a pool");
        let ran = atomic();
        let error = pool
            .apply::<square_but>((3, 3, ran.clone()))
            .expect_err("it is late");
        assert!(
            matches!(error, TaskError::TimedOut { attempt: 0, .. }),
            "{error:?}"
        );
        assert_eq!(ran.load(Ordering::Relaxed), 1);
        assert_eq!(pool.stats().retried, 0);
        works(&pool);
    });
}

#[mp::test]
fn many_late_tasks_in_a_row_leave_the_pool_whole() {
    alone(|| {
        let pool = Pool::new(3).expect("making a pool");
        let ran = atomic();
        let items = (0..60).map(|n| (n, if n % 2 == 0 { n } else { 0 }, ran.clone()));
        let job = pool.job::<square_but>().timeout(Duration::from_millis(20));
        let results: Vec<_> = job.imap(items).collect();
        for (n, result) in (0..).zip(results) {
            match result {
                // The machine may be busy.
                Err(TaskError::TimedOut { index, .. }) => assert_eq!(index, n),
                result => {
                    assert_eq!(n % 2, 1);
                    assert_eq!(result.expect("it is not hurt"), n * n);
                }
            }
        }
        works(&pool);
    });
}

#[mp::test]
fn a_cancelled_task_is_killed_with_its_descendants() {
    alone(|| {
        let mark = format!("{}-cancelled", std::process::id());
        let builder = Pool::builder()
            .workers(2)
            .cancel_grace(Duration::from_millis(20));
        let pool = builder.build().expect("making a pool");
        for at in [At::Grandchildren, At::Spin, At::Stopped] {
            let (ready, lock) = (event(), mp::Lock::new().expect("making a lock"));
            let task = pool.submit::<be_at>((at, mark.clone(), ready.clone(), lock));
            let task = task.expect("submitting");
            ready.wait().expect("waiting");
            assert!(task.cancel());
            let error = task.get().expect_err("it never ends");
            assert!(matches!(error, TaskError::Cancelled), "{error:?}");
            let gone = || marked(MARK, &mark).is_empty().then_some(());
            assert!(eventually(gone).is_some(), "{:?}", marked(MARK, &mark));
            works(&pool);
        }
    });
}

#[mp::test]
fn the_end_of_a_pool_kills_the_descendants_of_its_tasks() {
    alone(|| {
        let mark = format!("{}-terminated", std::process::id());
        for at in [At::Grandchildren, At::Deaf, At::Stopped, At::Orphans] {
            let pool = Pool::new(2).expect("making a pool");
            let (ready, lock) = (event(), mp::Lock::new().expect("making a lock"));
            let task = pool.submit::<be_at>((at, mark.clone(), ready.clone(), lock));
            let task = task.expect("submitting");
            ready.wait().expect("waiting");
            drop(pool);
            let error = task.get().expect_err("it never ends");
            assert!(matches!(error, TaskError::Cancelled), "{error:?}");
            let gone = || marked(MARK, &mark).is_empty().then_some(());
            assert!(
                eventually(gone).is_some(),
                "{at:?}: {:?}",
                marked(MARK, &mark)
            );
        }
    });
}

/// Starts a program, and dies.
#[mp::process_fn]
fn leave(script: String, mark: String) {
    drop(shell(&script, &mark));
    eprintln!("the last words");
    std::process::abort();
}

#[mp::test]
fn what_a_task_has_started_dies_with_its_worker() {
    alone(|| {
        let mark = format!("{}-dead", std::process::id());
        let pool = Pool::new(2).expect("making a pool");
        for script in [
            "echo ready; sleep 1000",
            "sleep 1000 & sh -c 'echo ready; sleep 1000; :'",
        ] {
            let error = pool.apply::<leave>((script.to_owned(), mark.clone()));
            let error = error.expect_err("it aborts");
            assert!(matches!(error, TaskError::WorkerDied { .. }), "{error:?}");
            let gone = || marked(MARK, &mark).is_empty().then_some(());
            assert!(eventually(gone).is_some(), "{:?}", marked(MARK, &mark));
            works(&pool);
        }
    });
}

/// Lets a task leave a program behind that is in a session of its own, and has the worker's standard error.
fn leave_behind(script: &str) {
    let mark = format!("{}-holder", std::process::id());
    let pool = Pool::new(1).expect("making a pool");
    let error = pool
        .apply::<leave>((script.to_owned(), mark.clone()))
        .expect_err("it aborts");
    let TaskError::WorkerDied { stderr, .. } = error else {
        panic!("{error:?}");
    };
    assert!(stderr.len() <= 4096, "{stderr:?}");
    works(&pool);
    drop(pool);
    // It is out of the worker's group, so that it may live on.
    for entry in marked(MARK, &mark) {
        if let Some(id) = Pid::from_raw(entry.pid.cast_signed()) {
            let _ = kill_process(id, Signal::KILL);
        }
    }
    let gone = || marked(MARK, &mark).is_empty().then_some(());
    assert!(eventually(gone).is_some());
}

#[mp::test]
fn a_program_that_keeps_stderr_open_holds_up_nothing() {
    alone(|| leave_behind("setsid sleep 1000 & echo ready"));
}

#[mp::test]
fn a_program_that_keeps_stderr_open_and_prints_holds_up_nothing() {
    alone(|| leave_behind("setsid yes chatter >&2 & echo ready"));
}

#[mp::process_fn]
fn own_pid() -> u32 {
    std::process::id()
}

#[mp::test]
fn a_worker_that_is_stopped_while_it_is_idle_holds_up_the_end_of_no_pool() {
    alone(|| {
        let pool = Pool::new(2).expect("making a pool");
        let pid = pool.apply::<own_pid>(()).expect("it works");
        let worker = Watched::new(pid);
        assert!(common_harm::signal_child(pid, Signal::STOP));
        // One task may wait with it, until it is late.
        let job = pool
            .job::<square>()
            .timeout(Duration::from_millis(300))
            .chunk_size(1);
        let results: Vec<_> = job.imap(0..20).collect();
        for (n, result) in (0..).zip(results) {
            if !matches!(result, Err(TaskError::TimedOut { .. })) {
                assert_eq!(result.expect("it is not hurt"), n * n);
            }
        }
        drop(pool);
        worker.ends();
    });
}

#[mp::test]
fn workers_that_are_stopped_end_when_they_are_joined_in_the_end() {
    alone(|| {
        let pool = Pool::new(2).expect("making a pool");
        works(&pool);
        let pids: Vec<_> = pool
            .stats()
            .workers
            .iter()
            .map(|worker| worker.pid)
            .collect();
        for pid in &pids {
            assert!(common_harm::signal_child(*pid, Signal::STOP));
        }
        pool.close();
        assert!(
            !pool
                .join_timeout(Duration::from_millis(50))
                .expect("it is closed")
        );
        pool.terminate();
        assert!(pool.join_timeout(LONG).expect("it is terminated"));
    });
}
