//! Waiting for semaphores and tasks, with others and without blocking the thread.

mod common_shm;

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use common_shm::{LONG, kill};
use multiproc_tests::leaks::alone;

#[mp::process_fn]
fn give(semaphore: mp::Semaphore, bounded: mp::BoundedSemaphore, tasks: mp::JoinableQueue<u32>) {
    semaphore.release().expect("there is room");
    bounded.release().expect("it was taken");
    tasks.put(7).expect("putting");
}

#[mp::test]
fn semaphores_and_joinable_queues_can_be_waited_for() {
    alone(|| {
        let semaphore = mp::Semaphore::new(0).expect("making a semaphore");
        let bounded = mp::BoundedSemaphore::new(1).expect("making a semaphore");
        let tasks = mp::JoinableQueue::new().expect("making a queue");
        bounded.acquire().expect("there is one").forget();
        let ready = |timeout| mp::wait(&[&semaphore, &tasks, &bounded], timeout).expect("waiting");
        assert!(ready(Some(Duration::ZERO)).is_empty());
        let process = mp::spawn!(give, semaphore.clone(), bounded.clone(), tasks.clone());
        assert!(!ready(None).is_empty());
        process.expect("spawning").join().expect("it returns");
        assert_eq!(ready(Some(LONG)), [0, 1, 2]);
        let _permit = semaphore.try_acquire().expect("there is one");
        assert_eq!(ready(Some(LONG)), [1, 2]);
        tasks.get().expect("there is one");
        assert_eq!(ready(Some(LONG)), [2]);
    });
}

#[mp::process_fn]
fn hold(semaphore: mp::Semaphore, held: mp::Event) {
    let _permit = semaphore.acquire().expect("there is one");
    held.set();
    thread::sleep(LONG);
}

#[mp::test]
fn a_permit_of_the_dead_comes_to_who_awaits_it() {
    alone(|| {
        let semaphore = mp::Semaphore::new(1).expect("making a semaphore");
        let held = mp::Event::new().expect("making an event");
        let process = mp::spawn!(hold, semaphore.clone(), held.clone()).expect("spawning");
        held.wait().expect("it is set");
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let permit = futures::executor::block_on(semaphore.acquire_async());
                drop(permit.expect("acquiring"));
            });
            // Nobody joins it before.
            process.kill().expect("killing");
            waiting.join().expect("it gets the permit");
        });
        kill(process);
        assert_eq!(semaphore.value(), 1);
    });
}

#[mp::test]
fn a_future_that_is_dropped_has_taken_no_permit() {
    alone(|| {
        let semaphore = mp::BoundedSemaphore::new(1).expect("making a semaphore");
        let permit = semaphore.acquire().expect("there is one");
        let mut context = Context::from_waker(Waker::noop());
        {
            let mut dropped = pin!(semaphore.acquire_async());
            assert!(dropped.as_mut().poll(&mut context).is_pending());
            drop(permit);
        }
        let mut acquiring = pin!(semaphore.acquire_async());
        let Poll::Ready(Ok(permit)) = acquiring.as_mut().poll(&mut context) else {
            panic!("there is a permit");
        };
        assert_eq!(semaphore.value(), 0);
        drop(permit);
        assert_eq!(semaphore.value(), 1);
    });
}

#[mp::test]
fn many_tasks_share_few_permits() {
    let semaphore = mp::Semaphore::new(2).expect("making a semaphore");
    let inside = mp::Atomic::new(0_u32).expect("making an atomic");
    let task = || async {
        for _ in 0..50 {
            let permit = semaphore.acquire_async().await.expect("acquiring");
            let before = inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            assert!(before < 2, "{before} are inside");
            futures::future::ready(()).await;
            inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
            drop(permit);
        }
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                futures::executor::block_on(futures::future::join(task(), task()));
            });
        }
    });
    assert_eq!(semaphore.value(), 2);
}
