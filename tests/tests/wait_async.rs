//! Waiting without blocking the thread, on several runtimes.

mod common_shm;

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use common_shm::{LONG, Random};
use futures::future::{Either, join, join_all, join3, select};
use mp::{RecvError, TryGetError, TryPutError};
use multiproc_tests::leaks::{apart, check};
use multiproc_tests::processes::{eventually, is_readable};
use multiproc_tests::watchdog::Watchdog;
use rustix::fd::AsRawFd;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Counts how often it wakes.
#[derive(Default)]
struct Counter(AtomicU32);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Counter {
    fn waits_to_be_woken(&self) {
        let woken = || (self.0.load(Ordering::SeqCst) > 0).then_some(());
        assert!(eventually(woken).is_some(), "it is not woken");
    }
}

fn poll<F: Future>(future: Pin<&mut F>, counter: &Arc<Counter>) -> Poll<F::Output> {
    let waker = Waker::from(Arc::clone(counter));
    future.poll(&mut Context::from_waker(&waker))
}

#[mp::process_fn]
fn echo(questions: mp::Queue<u32>, answers: mp::Queue<u32>) {
    for number in &questions {
        answers.put(number + 1).unwrap();
    }
}

async fn ask(count: u32) {
    let (questions, answers) = (mp::Queue::new().unwrap(), mp::Queue::new().unwrap());
    let child = mp::spawn!(echo, questions.clone(), answers.clone()).unwrap();
    for number in 0..count {
        questions.put_async(number).await.unwrap();
        assert_eq!(answers.get_async().await, Ok(number + 1));
    }
    questions.shutdown().unwrap();
    assert_eq!(child.await, Ok(()));
}

#[mp::test]
#[tokio::test]
async fn a_queue_answers_on_tokio() {
    let _watchdog = Watchdog::new();
    ask(300).await;
}

#[mp::test]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_answer_on_tokio_with_several_threads() {
    let _watchdog = Watchdog::new();
    let tasks = (0..4).map(|_| tokio::spawn(ask(100)));
    join_all(tasks).await.into_iter().for_each(Result::unwrap);
}

#[mp::test]
fn queues_answer_on_another_runtime() {
    let _watchdog = Watchdog::new();
    futures::executor::block_on(join(ask(100), ask(100)));
}

#[mp::process_fn]
fn double_over(peer: mp::Connection<u32, u32>) {
    while let Ok(number) = peer.recv() {
        peer.send(2 * number).unwrap();
    }
}

#[mp::test]
fn connections_answer_until_their_end() {
    let _watchdog = Watchdog::new();
    let (here, there) = mp::pipe::<u32, u32>().unwrap();
    let child = mp::spawn!(double_over, there).unwrap();
    futures::executor::block_on(async {
        for number in 0..300 {
            here.send(number).unwrap();
            assert_eq!(here.recv_async().await, Ok(2 * number));
        }
        child.kill().unwrap();
        assert_eq!(here.recv_async().await, Err(RecvError::Closed));
        let (tx, rx) = mp::channel::<u32>().unwrap();
        let receive = rx.recv_async();
        let (received, ()) = join(receive, async { drop(tx) }).await;
        assert_eq!(received, Err(RecvError::Closed));
        assert!(child.await.is_err());
    });
}

#[mp::test]
#[tokio::test]
async fn events_and_shutdown_end_the_waiting() {
    let _watchdog = Watchdog::new();
    let event = mp::Event::new().unwrap();
    let ((), waited) = tokio::join!(async { event.set() }, event.wait_async());
    waited.unwrap();
    event.clear();
    // Cleared at once, and waited for nonetheless.
    let blink = async {
        event.set();
        event.clear();
    };
    let (waited, ()) = tokio::join!(biased; event.wait_async(), blink);
    waited.unwrap();
    let queue = mp::Queue::<u32>::new().unwrap();
    let shutdown = async { queue.shutdown().unwrap() };
    let (got, ()) = tokio::join!(biased; queue.get_async(), shutdown);
    assert_eq!(got, Err(TryGetError::Shutdown));
    assert_eq!(queue.put_async(7).await, Err(TryPutError::Shutdown(7)));
}

#[mp::test]
#[tokio::test]
async fn a_full_queue_is_waited_for() {
    const COUNT: u32 = 300;
    let _watchdog = Watchdog::new();
    let queue = mp::Queue::bounded(2).unwrap();
    let other = queue.clone();
    let consumer = thread::spawn(move || {
        (0..COUNT).for_each(|number| assert_eq!(other.get(), Ok(number)));
    });
    for number in 0..COUNT {
        queue.put_async(number).await.unwrap();
    }
    consumer.join().unwrap();
    queue.put_async(1).await.unwrap();
    queue.put_async(2).await.unwrap();
    let shutdown = async { queue.shutdown().unwrap() };
    let (put, ()) = tokio::join!(biased; queue.put_async(3), shutdown);
    assert_eq!(put, Err(TryPutError::Shutdown(3)));
}

#[mp::process_fn]
fn produce(queue: mp::Queue<u64>, count: u64) {
    for number in 0..count {
        queue.put(number).unwrap();
        if number.is_multiple_of(16) {
            thread::sleep(Duration::from_micros(number % 300));
        }
    }
    queue.shutdown().unwrap();
}

/// Several tasks take from one queue, with time limits that end at any moment.
#[mp::test]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_futures_are_dropped_at_any_moment() {
    const COUNT: u64 = 4_000;
    let _watchdog = Watchdog::new();
    let queue = mp::Queue::new().unwrap();
    let child = mp::spawn!(produce, queue.clone(), COUNT).unwrap();
    let take = |seed: u64| {
        let queue = queue.clone();
        async move {
            let (mut taken, mut random) = (Vec::new(), Random::new());
            random.below(seed + 1);
            loop {
                let limit = Duration::from_micros(random.below(300));
                // Not tokio's timeout alone: its timers count milliseconds.
                let limit = tokio::task::spawn_blocking(move || thread::sleep(limit));
                match select(pin!(queue.get_async()), pin!(limit)).await {
                    Either::Left((Ok(number), _)) => taken.push(number),
                    Either::Left((Err(error), _)) => {
                        assert_eq!(error, TryGetError::Shutdown);
                        return taken;
                    }
                    Either::Right(_) => {}
                }
            }
        }
    };
    let tasks: Vec<_> = (0..4).map(|seed| tokio::spawn(take(seed))).collect();
    let mut all = BTreeSet::new();
    for task in tasks {
        for number in task.await.unwrap() {
            assert!(all.insert(number), "{number} was taken twice");
        }
    }
    assert_eq!(all.len() as u64, COUNT);
    child.await.unwrap();
}

/// The same with a bounded queue: each item is put once, or not at all.
#[mp::test]
#[tokio::test]
async fn an_item_is_put_once_or_not_at_all() {
    const COUNT: u64 = 1_000;
    let _watchdog = Watchdog::new();
    let queue = mp::Queue::bounded(3).unwrap();
    let other = queue.clone();
    let consumer = thread::spawn(move || {
        let mut random = Random::new();
        let mut got = Vec::new();
        while let Ok(number) = other.get() {
            got.push(number);
            thread::sleep(Duration::from_micros(random.below(50)));
        }
        got
    });
    let (mut put, mut random) = (Vec::new(), Random::new());
    for number in 0..COUNT {
        let polls = random.below(20);
        let mut left = polls;
        let limit = std::future::poll_fn(|context| {
            left = left.saturating_sub(1);
            context.waker().wake_by_ref();
            match left {
                0 => Poll::Ready(()),
                _ => Poll::Pending,
            }
        });
        if let Either::Left((done, _)) = select(pin!(queue.put_async(number)), pin!(limit)).await {
            done.unwrap();
            put.push(number);
        }
        tokio::task::yield_now().await;
    }
    queue.shutdown().unwrap();
    assert_eq!(consumer.join().unwrap(), put);
}

#[mp::test]
fn a_future_that_is_dropped_after_its_wake_up_leaves_the_item_to_others() {
    let _watchdog = Watchdog::new();
    // With only one of them woken, each round would take about a second, and all of them too long.
    for _ in 0..100 {
        let queue = mp::Queue::new().unwrap();
        let (first, second) = (Arc::<Counter>::default(), Arc::<Counter>::default());
        let mut one = Box::pin(queue.get_async());
        let mut other = pin!(queue.get_async());
        assert!(poll(one.as_mut(), &first).is_pending());
        assert!(poll(other.as_mut(), &second).is_pending());
        queue.put(7).unwrap();
        first.waits_to_be_woken();
        drop(one);
        second.waits_to_be_woken();
        assert_eq!(poll(other.as_mut(), &second), Poll::Ready(Ok(7)));
    }
}

#[mp::test]
fn two_futures_on_one_connection_are_both_woken() {
    let _watchdog = Watchdog::new();
    // With only one of them woken, each round would take about a second, and all of them too long.
    for _ in 0..100 {
        let (a, b) = mp::pipe::<u32, u32>().unwrap();
        let (first, second) = (Arc::<Counter>::default(), Arc::<Counter>::default());
        let mut one = Box::pin(b.recv_async());
        let mut other = pin!(b.recv_async());
        assert!(poll(one.as_mut(), &first).is_pending());
        assert!(poll(other.as_mut(), &second).is_pending());
        a.send(7).unwrap();
        first.waits_to_be_woken();
        drop(one);
        second.waits_to_be_woken();
        assert_eq!(poll(other.as_mut(), &second), Poll::Ready(Ok(7)));
    }
}

/// A future is polled here with one waker, and goes on elsewhere with another.
#[mp::test]
fn futures_move_between_threads() {
    let _watchdog = Watchdog::new();
    let (queue, (a, b)) = (mp::Queue::new().unwrap(), mp::pipe::<u32, u32>().unwrap());
    let event = mp::Event::new().unwrap();
    let nobody = Arc::<Counter>::default();
    let mut getting = Box::pin(queue.get_async());
    let mut receiving = Box::pin(b.recv_async());
    let mut waiting = Box::pin(event.wait_async());
    assert!(poll(getting.as_mut(), &nobody).is_pending());
    assert!(poll(receiving.as_mut(), &nobody).is_pending());
    assert!(poll(waiting.as_mut(), &nobody).is_pending());
    thread::scope(|scope| {
        let elsewhere =
            scope.spawn(move || futures::executor::block_on(join3(getting, receiving, waiting)));
        queue.put(7).unwrap();
        a.send(8).unwrap();
        event.set();
        let (got, received, waited) = elsewhere.join().unwrap();
        assert_eq!((got, received), (Ok(7), Ok(8)));
        waited.unwrap();
    });
}

/// More words than one thread watches.
#[mp::test]
fn three_hundred_queues_are_awaited_at_once() {
    let _watchdog = Watchdog::new();
    let queues: Vec<mp::Queue<usize>> = (0..300).map(|_| mp::Queue::new().unwrap()).collect();
    let others = queues.clone();
    let producer = thread::spawn(move || {
        for (index, queue) in others.iter().enumerate().rev() {
            queue.put(index).unwrap();
        }
    });
    let got = futures::executor::block_on(join_all(queues.iter().map(mp::Queue::get_async)));
    for (index, item) in got.into_iter().enumerate() {
        assert_eq!(item, Ok(index));
    }
    producer.join().unwrap();
}

#[mp::test]
fn the_end_of_a_connection_is_seen_though_it_was_watched() {
    let _watchdog = Watchdog::new();
    let (a, b) = mp::pipe::<u32, u32>().unwrap();
    let counter = Arc::<Counter>::default();
    let mut receiving = Box::pin(b.recv_async());
    assert!(poll(receiving.as_mut(), &counter).is_pending());
    drop(receiving);
    drop(b);
    assert!(is_readable(&a, LONG));
    assert_eq!(a.recv(), Err(RecvError::Closed));
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[mp::test]
fn futures_leave_nothing() {
    apart(|| {
        let experiment = || {
            let counter = Arc::<Counter>::default();
            for _ in 0..100 {
                let (queue, event) = (mp::Queue::bounded(1).unwrap(), mp::Event::new().unwrap());
                let (a, b) = mp::pipe::<u32, u32>().unwrap();
                let mut getting = pin!(queue.get_async());
                let mut waiting = pin!(event.wait_async());
                let mut receiving = pin!(b.recv_async());
                assert!(poll(getting.as_mut(), &counter).is_pending());
                assert!(poll(waiting.as_mut(), &counter).is_pending());
                assert!(poll(receiving.as_mut(), &counter).is_pending());
                let mut also_receiving = pin!(a.recv_async());
                assert!(poll(also_receiving.as_mut(), &counter).is_pending());
                queue.put(vec![0_u8; 1000]).unwrap();
                let mut putting = pin!(queue.put_async(vec![0; 1000]));
                assert!(poll(putting.as_mut(), &counter).is_pending());
            }
            // Nobody keeps the waker, and with it a task.
            assert!(eventually(|| (Arc::strong_count(&counter) == 1).then_some(())).is_some());
        };
        // Threads are started once.
        experiment();
        let before = threads();
        check(experiment);
        assert_eq!(threads(), before);
    });
}

/// Makes it impossible to open anything, until it is dropped.
struct NothingToOpen(Rlimit);

impl NothingToOpen {
    fn new() -> Self {
        let before = getrlimit(Resource::Nofile);
        let free = rustix::fs::open("/dev/null", OFlags::CLOEXEC, Mode::empty()).unwrap();
        let limit = Rlimit {
            current: Some(free.as_raw_fd() as u64),
            maximum: before.maximum,
        };
        setrlimit(Resource::Nofile, limit).unwrap();
        Self(before)
    }
}

impl Drop for NothingToOpen {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.0).unwrap();
    }
}

#[mp::process_fn]
fn wait_for(event: mp::Event) -> u32 {
    event.wait().unwrap();
    7
}

#[mp::test]
fn a_system_that_refuses_to_watch_is_an_error_and_may_help_later() {
    apart(|| {
        let (event, (a, b)) = (mp::Event::new().unwrap(), mp::pipe::<u32, u32>().unwrap());
        let process = mp::spawn!(wait_for, event.clone()).unwrap();
        let limited = NothingToOpen::new();
        let received = futures::executor::block_on(b.recv_async());
        let Err(RecvError::Failed(text)) = received else {
            panic!("{received:?}")
        };
        assert!(
            text.contains("watch") && text.contains("open files"),
            "{text}"
        );
        let error = mp::wait(&[&event, &b], None).unwrap_err().to_string();
        assert!(
            error.contains("watch") && error.contains("open files"),
            "{error}"
        );
        // Awaiting a process blocks the thread then.
        let awaiting = thread::spawn(|| futures::executor::block_on(process.into_future()));
        event.set();
        assert_eq!(awaiting.join().unwrap(), Ok(7));
        drop(limited);
        let (received, ()) =
            futures::executor::block_on(join(b.recv_async(), async { a.send(8).unwrap() }));
        assert_eq!(received, Ok(8));
    });
}
