//! The names and forms that programs are promised, written as they will write them.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use futures::executor::block_on;
use multiproc_tests::watchdog::Watchdog;
use serde::{Deserialize, Serialize};

const D: Duration = Duration::from_millis(1);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Job(u32);

#[mp::process_fn]
fn double(n: u64) -> u64 {
    2 * n
}

/// What sets up a worker.
#[mp::process_fn]
fn load(path: &str, level: u32) -> Result<(), mp::RemoteError> {
    assert_eq!((path, level), ("settings", 3));
    Ok(())
}

#[mp::process_fn]
fn square(n: u64) -> u64 {
    n * n
}

#[mp::process_fn]
fn add(a: u64, b: u64) -> u64 {
    a + b
}

/// Sums what comes out of a queue that is shut down, in a pool inside a worker.
#[mp::process_fn]
fn drain(q: mp::Queue<u64>) -> Result<u64, mp::RemoteError> {
    let pool = mp::Pool::new(1)?;
    Ok(pool.map::<square>(&q)?.iter().sum())
}

#[mp::process_fn]
fn run_until_cancelled(running: mp::Event) {
    running.set();
    while !mp::cancelled() {
        thread::sleep(D);
    }
}

#[mp::test]
fn talking() {
    fn talk() -> mp::Result<()> {
        let q: mp::Queue<Job> = mp::Queue::new()?;
        let job = Job(7);
        q.put(job.clone())?;
        q.try_put(job.clone())?;
        q.put_timeout(job.clone(), D)?;
        q.put_ref(&job)?;
        let job = q.get()?;
        q.try_get()?;
        q.get_timeout(D)?;
        assert_eq!((q.len(), q.is_empty(), q.is_full()), (1, false, false));
        assert_eq!(q.capacity(), None);
        q.shutdown()?;
        for again in &q {
            assert_eq!(again, job);
        }
        assert!(matches!(q.get(), Err(mp::TryGetError::Shutdown)));
        assert!(matches!(q.put(job), Err(mp::TryPutError::Shutdown(Job(7)))));

        let full = mp::Queue::bounded(1)?;
        full.put(1)?;
        assert!(matches!(full.try_put(2), Err(mp::TryPutError::Full(2))));
        assert!(matches!(
            mp::Queue::<u8>::new()?.try_get(),
            Err(mp::TryGetError::Empty)
        ));

        let q: mp::JoinableQueue<Job> = mp::JoinableQueue::new()?;
        q.put(Job(1))?;
        q.get()?;
        q.task_done()?;
        q.join();
        assert!(q.join_timeout(D));

        let (a, b) = mp::pipe::<Job, String>()?;
        a.send(Job(1))?;
        assert_eq!(b.recv()?, Job(1));
        assert!(b.try_recv().is_err() && b.recv_timeout(D).is_err());
        assert!(!a.poll(D)?);
        a.send_bytes(b"tea")?;
        assert_eq!(b.recv_bytes()?, b"tea");
        b.send_bytes(b"tea")?;
        assert_eq!(a.recv_bytes_into(&mut [0; 4])?, 3);
        let (tx, rx) = mp::channel::<u8>()?;
        tx.send(7)?;
        assert_eq!(rx.recv()?, 7);

        let p = mp::spawn!(double, 21)?;
        let q = mp::Queue::new()?;
        q.put(1)?;
        let ready: Vec<usize> = mp::wait(&[&a, &p, &q], Some(D))?;
        assert!(ready.contains(&2) && !ready.contains(&0));
        assert_eq!(p.join()?, 42);
        drop(b);
        assert!(matches!(a.recv(), Err(mp::RecvError::Closed)));
        Ok(())
    }
    talk().expect("talking");
}

#[mp::test]
fn synchronizing() {
    fn synchronize() -> mp::Result<()> {
        let lock = mp::Lock::new()?;
        drop(lock.lock()?);
        drop(lock.try_lock()?);
        drop(lock.lock_timeout(D)?);
        let lock = mp::RLock::new()?;
        let outer = lock.lock()?;
        drop((lock.try_lock()?, lock.lock_timeout(D)?, outer));

        let sem = mp::Semaphore::new(3)?;
        let permit = sem.acquire()?;
        drop((sem.try_acquire()?, sem.acquire_timeout(D)?));
        assert_eq!(sem.value(), 2);
        sem.release()?;
        drop(permit);
        assert_eq!(sem.value(), 4);
        assert!(mp::BoundedSemaphore::new(3)?.release().is_err());

        let (cond, value) = (mp::Condition::new()?, mp::Value::new(1)?);
        let g = value.lock()?;
        let (g, result) = cond.wait_timeout(g, D)?;
        assert!(result.timed_out());
        let g = cond.wait_while(g, |n| *n != 1)?;
        drop(g);
        cond.notify_one();
        cond.notify_all();

        let ev = mp::Event::new()?;
        assert!(!ev.wait_timeout(D)?);
        ev.set();
        ev.wait()?;
        assert!(ev.is_set());
        ev.clear();

        let bar = mp::Barrier::new(1)?;
        assert!(bar.wait()?.is_leader());
        assert!(bar.wait_timeout(D)?.is_leader());
        assert_eq!((bar.waiting(), bar.parties()), (0, 1));
        bar.abort();
        assert!(bar.is_broken());
        bar.reset();
        assert!(!bar.is_broken());
        Ok(())
    }
    synchronize().expect("synchronizing");
}

#[mp::test]
fn sharing() {
    fn share() -> mp::Result<()> {
        let v = mp::Value::new(0_i64)?;
        *v.lock()? += 1;
        v.set(7)?;
        assert_eq!((v.update(|x| x + 1)?, v.get()?), (8, 8));
        let a = mp::Array::from_slice(&[1.0_f64, 2.0])?;
        a.lock()?[1] = 1.0;
        assert_eq!((a.len(), a.to_vec()?), (2, vec![1.0, 1.0]));
        assert_eq!(mp::Array::<f64>::zeroed(3)?.len(), 3);
        let n = mp::Atomic::<u64>::new(0)?;
        n.fetch_add(1, Ordering::Relaxed);
        assert_eq!(n.load(Ordering::Relaxed), 1);
        let s = mp::Shared::from_slice(&[1_u8, 2])?;
        assert_eq!(&s[..], [1, 2]);
        let s = mp::Shared::<[f64]>::from_fn(3, |i| i as f64)?;
        assert_eq!(&s[..], [0.0, 1.0, 2.0]);
        let name = format!("mp_test_{}", std::process::id());
        let m = mp::SharedMemory::create(Some(&name), 10)?;
        let same = mp::SharedMemory::open(&name)?;
        assert_eq!((same.name(), same.len()), (m.name(), 10));
        m.unlink()?;
        Ok(())
    }
    share().expect("sharing");
}

#[mp::test]
fn pools() {
    fn calls(pool: &mp::Pool) -> mp::Result<()> {
        let (a, b) = (20, 22);
        let d = Duration::from_secs(60);
        let items = [(a, b); 100];

        let squares: Vec<u64> = pool.map::<square>(0..1000)?;
        assert_eq!(squares[999], 998_001);
        let mut sum = 0;
        for r in pool.imap::<add>(items) {
            sum += r?;
        }
        for r in pool.imap_unordered::<add>(items) {
            sum -= r?;
        }
        assert_eq!(sum, 0);
        let r = pool.apply::<add>((a, b))?;
        assert_eq!(r, 42);
        let t: mp::Task<u64> = pool.submit::<add>((a, b))?;
        assert_eq!(t.get()?, 42);
        assert!(t.is_ready() && !t.cancel());
        assert_eq!(pool.submit::<add>((a, b))?.get_timeout(d)?, 42);
        assert_eq!(block_on(async { pool.submit::<add>((a, b))?.await })?, 42);
        let t: mp::Task<Vec<u64>> = pool.map_async::<add>(items)?;
        assert_eq!(t.get()?, [42; 100]);

        let job = || {
            pool.job::<add>()
                .chunk_size(64)
                .timeout(d)
                .retries(1)
                .window(1000)
        };
        assert_eq!(job().map(items)?.len(), 100);
        assert_eq!(job().map_async(items)?.get()?.len(), 100);
        assert_eq!(job().imap(items).len(), 100);
        assert_eq!(job().imap_unordered(items).len(), 100);
        assert_eq!(job().apply((a, b))?, 42);
        assert_eq!(job().submit((a, b))?.get()?, 42);
        let pairs = pool.imap::<add>(items).size_hint();
        assert_eq!(pairs, (100, Some(100)));

        let tasks = [pool.submit::<square>(3)?, pool.submit::<square>(4)?];
        assert!(mp::wait_any(&tasks, d).is_some());
        let mut squares = mp::as_completed(tasks)
            .map(|t| t.get())
            .collect::<Result<Vec<_>, _>>()?;
        squares.sort_unstable();
        assert_eq!(squares, [9, 16]);

        let ev = mp::Event::new()?;
        let t = pool.submit::<run_until_cancelled>(ev.clone())?;
        ev.wait()?;
        assert!(matches!(t.get_timeout(D), Err(mp::TaskError::NotReady)));
        assert!(t.cancel());
        // It returns when it sees that; if it takes long to look, it is killed.
        assert!(matches!(t.get(), Ok(()) | Err(mp::TaskError::Cancelled)));
        assert!(!mp::cancelled());

        let q = mp::Queue::new()?;
        q.put(3)?;
        q.put(4)?;
        q.shutdown()?;
        assert_eq!(pool.apply::<drain>(q)??, 25);
        pool.resize(3)?;
        while pool.stats().workers.len() != 3 {
            thread::sleep(D);
        }
        Ok(())
    }

    fn pools() -> mp::Result<()> {
        let _watchdog = Watchdog::new();
        calls(&mp::Pool::new(4)?)?;
        calls(&mp::Pool::threads(4)?)?;
        let (m, d) = (mp::StartMethod::Spawn, Duration::from_secs(60));
        let pool = mp::Pool::builder()
            .workers(4)
            .start_method(m)
            .initializer::<load>(("settings", 3))
            .max_tasks_per_worker(1000)
            .max_memory_per_worker(1 << 30)
            .task_timeout(d)
            .retries(2)
            .build()?;
        calls(&pool)?;
        pool.close();
        assert!(matches!(
            pool.apply::<square>(1),
            Err(mp::TaskError::Closed)
        ));
        pool.join()?;
        pool.terminate();
        Ok(())
    }
    pools().expect("pools");
}
