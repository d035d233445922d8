//! Queues whose users wait until all items have been dealt with.

mod common_shm;

use std::time::Duration;

use common_shm::{LONG, Random, kill, kills};
use multiproc_tests::leaks::alone;

type Tasks = mp::JoinableQueue<Vec<u8>>;

fn tasks() -> Tasks {
    mp::JoinableQueue::new().expect("making a queue")
}

/// A task, which lies in the queue or is a parcel.
fn task(number: u32) -> Vec<u8> {
    vec![number as u8; if number.is_multiple_of(3) { 9000 } else { 9 }]
}

#[mp::process_fn]
fn work(tasks: Tasks, done: mp::Value<u32>) {
    for _task in &tasks {
        *done.lock().expect("nobody dies") += 1;
        tasks.task_done().expect("it was taken");
    }
}

#[mp::test]
fn a_join_waits_for_what_is_taken_and_not_done() {
    alone(|| {
        let (tasks, done) = (tasks(), mp::Value::new(0).expect("making a value"));
        let start = |_| mp::spawn!(work, tasks.clone(), done.clone()).expect("spawning");
        let workers = [0, 1, 2].map(start);
        for round in 1..=20 {
            for number in 0..50 {
                tasks.put(task(number)).expect("putting");
            }
            tasks.join();
            assert_eq!(done.get().expect("nobody dies"), round * 50);
        }
        tasks.shutdown().expect("shutting down");
        for worker in workers {
            worker.join().expect("it works");
        }
        assert_eq!((tasks.unfinished(), tasks.lost()), (0, 0));
    });
}

#[mp::test]
fn nothing_is_to_be_waited_for_before_anything_is_put() {
    let tasks = tasks();
    tasks.join();
    assert!(tasks.join_timeout(Duration::ZERO));
}

#[mp::test]
fn a_join_with_a_timeout_gives_up() {
    let tasks = tasks();
    tasks.put(task(1)).expect("putting");
    assert!(!tasks.join_timeout(Duration::from_millis(5)));
    tasks.get().expect("getting");
    assert!(!tasks.join_timeout(Duration::from_millis(5)));
    tasks.task_done().expect("it was taken");
    assert!(tasks.join_timeout(LONG));
}

#[mp::test]
fn doing_more_than_was_put_is_an_error_that_changes_nothing() {
    let tasks = tasks();
    let error = tasks.task_done().expect_err("nothing was put");
    assert!(
        error
            .to_string()
            .contains("task_done was called more often"),
        "{error}"
    );
    tasks.put(task(1)).expect("putting");
    assert_eq!(tasks.unfinished(), 1);
    tasks.get().expect("getting");
    tasks.task_done().expect("it was taken");
    tasks.task_done().expect_err("there was one");
    assert_eq!(tasks.unfinished(), 0);
}

#[mp::process_fn]
fn take_two_and_die(tasks: Tasks) {
    let _taken = [tasks.get(), tasks.get()];
    std::process::abort();
}

#[mp::test]
fn a_join_does_not_wait_for_the_dead() {
    alone(|| {
        let tasks = tasks();
        for number in 0..3 {
            tasks.put(task(number)).expect("putting");
        }
        // Nobody joins the process before the tasks.
        let process = mp::spawn!(take_two_and_die, tasks.clone()).expect("spawning");
        while tasks.len() > 1 {
            std::thread::yield_now();
        }
        tasks.get().expect("one is left");
        tasks.task_done().expect("it was taken");
        tasks.join();
        assert_eq!(tasks.lost(), 2);
        tasks.task_done().expect_err("all are done or lost");
        process.join().expect_err("it aborts");
    });
}

#[mp::process_fn]
fn take_one_and_return(tasks: Tasks) -> Vec<u8> {
    tasks.get().expect("getting")
}

#[mp::test]
fn what_another_process_has_done_is_not_lost() {
    alone(|| {
        let tasks = tasks();
        tasks.put(task(1)).expect("putting");
        let [told, tell] = [(); 2].map(|()| mp::Event::new().expect("making an event"));
        let process = mp::spawn!(take_one_and_wait, tasks.clone(), told.clone(), tell.clone());
        told.wait().expect("it takes one");
        tasks.task_done().expect("it was taken");
        tell.set();
        process.expect("spawning").join().expect("it returns");
        assert_eq!((tasks.unfinished(), tasks.lost()), (0, 0));

        tasks.put(task(2)).expect("putting");
        let process = mp::spawn!(take_one_and_return, tasks.clone()).expect("spawning");
        assert_eq!(process.join().expect("it returns"), task(2));
        // It ended with a task in its hands.
        assert_eq!((tasks.unfinished(), tasks.lost()), (0, 1));
    });
}

#[mp::process_fn]
fn take_one_and_wait(tasks: Tasks, told: mp::Event, tell: mp::Event) {
    tasks.get().expect("getting");
    told.set();
    tell.wait().expect("it is told");
}

#[mp::process_fn]
fn take_as_plain(queue: mp::Queue<Vec<u8>>) {
    queue.get().expect("getting");
}

#[mp::test]
fn a_joinable_queue_may_be_used_as_a_queue_and_counts_on() {
    alone(|| {
        let tasks = tasks();
        tasks.put(task(1)).expect("putting");
        let plain: mp::Queue<Vec<u8>> = (*tasks).clone();
        mp::spawn!(take_as_plain, plain)
            .expect("spawning")
            .join()
            .expect("it takes");
        assert_eq!((tasks.unfinished(), tasks.lost()), (0, 1));
    });
}

#[mp::process_fn]
fn take_one_and_drop(tasks: Tasks, dropped: mp::Event, stop: mp::Event) {
    tasks.get().expect("getting");
    drop(tasks);
    dropped.set();
    stop.wait().expect("it is told");
}

#[mp::test]
fn a_process_that_drops_the_queue_gives_its_tasks_up() {
    alone(|| {
        let tasks = tasks();
        tasks.put(task(1)).expect("putting");
        let [dropped, stop] = [(); 2].map(|()| mp::Event::new().expect("making an event"));
        let process = mp::spawn!(take_one_and_drop, tasks.clone(), dropped, stop.clone());
        tasks.join();
        assert_eq!(tasks.lost(), 1);
        stop.set();
        process.expect("spawning").join().expect("it returns");

        tasks.put(task(2)).expect("putting");
        tasks.get().expect("getting");
        // The memory of the queue is not kept by the task.
    });
}

#[mp::process_fn]
fn work_until_killed(tasks: Tasks) {
    loop {
        let _task = tasks.get().expect("getting");
        tasks.task_done().expect("it was taken");
    }
}

#[mp::test]
fn workers_that_are_killed_leave_nothing_to_wait_for() {
    alone(|| {
        let mut random = Random::new();
        let tasks = tasks();
        let start = || mp::spawn!(work_until_killed, tasks.clone()).expect("spawning");
        let mut next = start();
        let rounds = kills();
        for _ in 0..rounds {
            let victim = std::mem::replace(&mut next, start());
            for number in 0..30 {
                tasks.put(task(number)).expect("putting");
            }
            random.moment();
            kill(victim);
            tasks.join();
            assert_eq!((tasks.len(), tasks.unfinished()), (0, 0));
        }
        kill(next);
        assert!(
            tasks.lost() <= u64::from(rounds),
            "{} are lost",
            tasks.lost()
        );
        tasks.task_done().expect_err("none is left");
    });
}
