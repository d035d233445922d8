//! The names and forms that programs are promised, written as they will write them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};

const D: Duration = Duration::from_millis(1);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Job(u32);

#[mp::process_fn]
fn double(n: u64) -> u64 {
    2 * n
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
