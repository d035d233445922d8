//! The word of a task: who runs it, who decides what becomes of it, and who is told.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

use super::item::{Item, Phase, State};
use super::memory::Memory;
use crate::sync::{Signal, model};
use crate::sys;

/// A task, and where its argument and its value are: what the word has to hand over, since nothing else does.
struct Task {
    item: Item,
    argument: Memory,
    value: Memory,
    /// Whoever waits for one of several tasks.
    done: Arc<Signal>,
}

impl Task {
    fn offered(done: &Arc<Signal>) -> Self {
        let task = Self {
            item: Item::new(),
            argument: Memory::new(0),
            value: Memory::new(0),
            done: Arc::clone(done),
        };
        task.offer();
        task
    }

    fn new() -> Arc<Self> {
        Arc::new(Self::offered(&Arc::new(Signal::new())))
    }

    fn offer(&self) {
        self.argument.write(7);
        self.item.offer();
    }

    /// What a worker does with a task; tells whether it was its own to do.
    fn run(&self, worker: u16) -> bool {
        if self.item.begin(worker).is_none() {
            return false;
        }
        self.value.write(self.value.read() + self.argument.read());
        self.complete(worker)
    }

    fn complete(&self, worker: u16) -> bool {
        let Some(before) = self.item.complete(worker, Phase::Value) else {
            return false;
        };
        if before.is_waited() {
            sys::futex_wake(self.item.word(), u32::MAX);
        }
        if before.is_watched() {
            self.done.notify();
        }
        true
    }

    /// As in `Batch::decide`.
    fn decided(&self, before: Option<State>) -> bool {
        let Some(before) = before else { return false };
        if before.is_waited() {
            sys::futex_wake(self.item.word(), u32::MAX);
        }
        self.done.notify();
        true
    }

    /// As in `shared::sleep`. The value, if there is one.
    fn wait(&self) -> Option<u32> {
        loop {
            let (word, state) = self.item.wait();
            if state.is_final() {
                return self.value();
            }
            sys::futex_wait(word, Item::expected(state), None);
        }
    }

    fn value(&self) -> Option<u32> {
        let is_value = self.item.state().phase() == Phase::Value;
        is_value.then(|| self.value.read())
    }
}

#[test]
fn one_of_two_workers_runs_a_task_and_wakes_who_waits() {
    model(|| {
        let task = Task::new();
        let workers = [1, 2].map(|worker| {
            let task = Arc::clone(&task);
            thread::spawn(move || task.run(worker))
        });
        assert_eq!(task.wait(), Some(7));
        let runs = workers.map(|worker| worker.join().unwrap());
        assert!(runs[0] != runs[1]);
    });
}

#[test]
fn a_task_that_is_offered_late_comes_with_its_argument() {
    model(|| {
        let task = Arc::new(Task {
            item: Item::new(),
            argument: Memory::new(0),
            value: Memory::new(0),
            done: Arc::new(Signal::new()),
        });
        let other = Arc::clone(&task);
        let worker = thread::spawn(move || other.run(1));
        task.offer();
        if worker.join().unwrap() {
            assert_eq!(task.value(), Some(7));
        } else {
            assert_eq!(task.item.state().phase(), Phase::Ready);
        }
    });
}

#[test]
fn a_completion_and_a_decision_exclude_each_other() {
    model(|| {
        let task = Task::new();
        task.item.begin(1).unwrap();
        let other = Arc::clone(&task);
        let worker = thread::spawn(move || {
            other.value.write(7);
            other.complete(1)
        });
        let other = Arc::clone(&task);
        let waiter = thread::spawn(move || other.wait());
        let is_decided = task.decided(task.item.conclude_running(1));
        let is_complete = worker.join().unwrap();
        assert!(is_decided != is_complete);
        assert_eq!(waiter.join().unwrap(), is_complete.then_some(7));
    });
}

#[test]
fn a_task_that_was_decided_about_never_begins() {
    model(|| {
        let task = Task::new();
        let other = Arc::clone(&task);
        let worker = thread::spawn(move || other.run(1));
        let other = Arc::clone(&task);
        let waiter = thread::spawn(move || other.wait());
        let is_decided = task.decided(task.item.conclude_ready());
        assert!(is_decided != worker.join().unwrap());
        assert_eq!(waiter.join().unwrap(), (!is_decided).then_some(7));
    });
}

#[test]
fn the_end_of_all_ends_a_task_whatever_it_is() {
    model(|| {
        let task = Task::new();
        let other = Arc::clone(&task);
        let worker = thread::spawn(move || other.run(1));
        let other = Arc::clone(&task);
        let waiter = thread::spawn(move || other.wait());
        let is_decided = task.decided(task.item.conclude());
        assert!(is_decided != worker.join().unwrap());
        waiter.join().unwrap();
        assert_eq!(task.value(), (!is_decided).then_some(7));
    });
}

#[test]
fn a_task_of_the_dead_is_attempted_again_and_its_waiter_hears_of_it() {
    model(|| {
        let task = Task::new();
        let other = Arc::clone(&task);
        let waiter = thread::spawn(move || other.wait());
        task.item.begin(1).unwrap();
        // Worker 1 is dead.
        let other = Arc::clone(&task);
        let another = thread::spawn(move || other.run(2));
        assert!(task.item.retry(1));
        let is_attempted = another.join().unwrap();
        if !is_attempted {
            assert!(task.run(2));
        }
        assert_eq!(waiter.join().unwrap(), Some(7));
        assert_eq!(task.item.state().attempt(), 1);
    });
}

/// As in `Batch::give_up_on`; tells whether a worker has to be killed for it.
fn give_up(task: &Task) -> bool {
    loop {
        if task.decided(task.item.conclude_ready()) {
            return false;
        }
        let before = task.item.request_cancel();
        if before.phase() != Phase::Ready {
            return before.phase() == Phase::Running;
        }
    }
}

#[test]
fn a_task_that_was_given_up_is_not_attempted_again() {
    model(|| {
        let task = Task::new();
        task.item.begin(1).unwrap();
        // Worker 1 is dead. As in `Batch::lose`.
        let other = Arc::clone(&task);
        let owner = thread::spawn(move || {
            other.item.retry(1) || other.decided(other.item.conclude_running(1))
        });
        let other = Arc::clone(&task);
        let canceller = thread::spawn(move || give_up(&other));
        assert!(owner.join().unwrap());
        canceller.join().unwrap();
        assert_eq!(task.item.state().phase(), Phase::Over);
    });
}

#[test]
fn a_task_that_is_given_up_in_time_never_runs_and_one_that_runs_is_told() {
    model(|| {
        let task = Task::new();
        let other = Arc::clone(&task);
        let worker = thread::spawn(move || other.item.begin(1).is_some());
        let is_to_be_killed = give_up(&task);
        let has_begun = worker.join().unwrap();
        assert_eq!(is_to_be_killed, has_begun);
        assert_eq!(task.item.state().is_cancelled(), has_begun);
    });
}

/// As in `Batch::watch_last`.
fn watch_last(tasks: &[Task]) {
    let unsettled = tasks.iter().filter(|task| !task.item.state().is_final());
    let _ = unsettled.rev().any(|task| task.item.watch());
}

/// As in `Shared::try_until`, without patience.
fn try_until(done: &Signal, attempt: impl Fn() -> bool, watch: impl Fn()) {
    while !attempt() {
        let announced = done.announce();
        watch();
        if attempt() {
            return;
        }
        done.sleep(announced, None);
    }
}

#[test]
fn who_waits_for_all_of_two_tasks_is_told_of_the_last() {
    model(|| {
        let done = Arc::new(Signal::new());
        let tasks = Arc::new([(); 2].map(|()| Task::offered(&done)));
        let workers = [0, 1].map(|number| {
            let tasks = Arc::clone(&tasks);
            thread::spawn(move || tasks[number].run(number as u16))
        });
        let are_done = || tasks.iter().all(|task| task.item.state().is_final());
        try_until(&done, are_done, || watch_last(&*tasks));
        assert!(tasks.iter().all(|task| task.value() == Some(7)));
        for worker in workers {
            assert!(worker.join().unwrap());
        }
    });
}

#[test]
fn who_waits_for_one_of_two_tasks_is_told_of_the_first() {
    model(|| {
        let done = Arc::new(Signal::new());
        let tasks = Arc::new([(); 2].map(|()| Task::offered(&done)));
        let gate = Arc::new(AtomicU32::new(0));
        let worker = {
            let (tasks, gate) = (Arc::clone(&tasks), Arc::clone(&gate));
            thread::spawn(move || {
                tasks[1].run(1);
                gate.load(Ordering::Acquire)
            })
        };
        // The other one is run by nobody.
        let is_any_done = || tasks.iter().any(|task| task.item.state().is_final());
        let watch_all = || {
            for task in &*tasks {
                task.item.watch();
            }
        };
        try_until(&done, is_any_done, watch_all);
        gate.store(1, Ordering::Release);
        worker.join().unwrap();
        assert_eq!(tasks[1].value(), Some(7));
    });
}
