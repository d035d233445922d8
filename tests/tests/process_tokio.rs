//! Process functions that are `async`.

use std::time::Duration;

use mp::{ProcessError, Ran};
use multiproc_tests::leaks::alone;
use multiproc_tests::watchdog::Watchdog;

/// Waits for two tasks at once, of which one needs the other, and one a timer.
#[mp::process_fn(runtime = "tokio")]
async fn add(a: u32, b: u32) -> u32 {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let timer = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(1)).await;
        sender.send(a).unwrap();
    });
    let a = receiver.await.unwrap();
    timer.await.unwrap();
    a + b
}

#[mp::process_fn(runtime = "tokio")]
async fn count_words(text: &str, min_len: usize) -> Result<usize, mp::RemoteError> {
    tokio::task::yield_now().await;
    let min_len = min_len
        .checked_sub(1)
        .ok_or_else(|| mp::RemoteError::msg("too short"))?;
    let words = text.split_whitespace().filter(|word| word.len() > min_len);
    Ok(words.count())
}

#[mp::process_fn(runtime = "tokio")]
async fn panic() -> u32 {
    tokio::task::yield_now().await;
    panic!("in an async function")
}

/// The panic of a task is the task's.
#[mp::process_fn(runtime = "tokio")]
async fn panic_in_task() -> bool {
    let task = tokio::spawn(async { panic!("in a task") });
    task.await.is_err_and(|error| error.is_panic())
}

#[mp::process_fn(name = "a stable async name", runtime = "tokio")]
async fn named() -> Option<String> {
    std::thread::current().name().map(str::to_owned)
}

/// Starts processes from a process that has a runtime.
#[mp::process_fn(runtime = "tokio")]
async fn add_three(a: u32, b: u32, c: u32) -> Result<u32, mp::RemoteError> {
    let join = |process: mp::Process<u32>| tokio::task::spawn_blocking(|| process.join());
    let sum = join(mp::spawn!(add, a, b)?).await??;
    Ok(join(mp::spawn!(add, sum, c)?).await??)
}

/// Ends while a task of its runtime runs.
#[mp::process_fn(runtime = "tokio")]
async fn leave_a_task() -> u32 {
    tokio::spawn(std::future::pending::<()>());
    7
}

#[mp::process_fn(runtime = "tokio")]
async fn exit(code: i32) {
    tokio::task::yield_now().await;
    std::process::exit(code);
}

#[mp::process_fn(runtime = "tokio")]
async fn drain(queue: mp::Queue<u32>, results: mp::Queue<u32>) -> u32 {
    let take = move || (&queue).into_iter().sum::<u32>();
    let sum = tokio::task::spawn_blocking(take).await.unwrap();
    results.put(sum).unwrap();
    sum
}

#[mp::test]
fn async_functions_return_values() {
    alone(|| {
        assert_eq!(mp::spawn!(add, 40, 2).unwrap().join().unwrap(), 42);
        let count = |min_len| {
            mp::spawn!(count_words, "to be or not to be", min_len)
                .unwrap()
                .join()
        };
        assert_eq!(count(3).unwrap().unwrap(), 1);
        assert_eq!(count(0).unwrap().unwrap_err().message(), "too short");
        assert_eq!(mp::spawn!(leave_a_task).unwrap().join().unwrap(), 7);
        assert!(mp::spawn!(panic_in_task).unwrap().join().unwrap());
        assert_eq!(
            mp::spawn!(add_three, 1, 2, 3)
                .unwrap()
                .join()
                .unwrap()
                .unwrap(),
            6
        );
    });
}

#[mp::test]
fn async_functions_take_handles() {
    alone(|| {
        let (queue, results) = (mp::Queue::new().unwrap(), mp::Queue::new().unwrap());
        let process = mp::spawn!(drain, queue.clone(), results.clone()).unwrap();
        (0..10).for_each(|number| queue.put(number).unwrap());
        queue.shutdown().unwrap();
        assert_eq!((process.join().unwrap(), results.get().unwrap()), (45, 45));
    });
}

#[mp::test]
fn a_panic_of_an_async_function_is_told() {
    alone(|| {
        let process = mp::spawn!(panic).unwrap();
        let pid = process.id();
        let ProcessError::Panicked(panic) = process.join().unwrap_err() else {
            unreachable!("it panicked")
        };
        assert_eq!(panic.message(), "in an async function");
        let location = panic.location().unwrap();
        assert!(location.contains("process_tokio.rs:"), "{location}");
        let subject = panic.subject();
        assert_eq!((subject.pid, subject.ran), (pid, Ran::Partly));
        assert_eq!(subject.function, "process_tokio::panic");
    });
}

#[mp::test]
fn an_exit_of_an_async_function_is_told() {
    let _watchdog = Watchdog::new();
    let error = mp::spawn!(exit, 7).unwrap().join().unwrap_err();
    assert!(
        matches!(error, ProcessError::Exited { code: 7, .. }),
        "{error:?}"
    );
    assert_eq!(error.ran(), Ran::Partly);
}

#[mp::test]
fn an_async_function_is_registered_and_can_be_called() {
    let _watchdog = Watchdog::new();
    let process = mp::spawn!(named).unwrap();
    assert_eq!(process.function(), "a stable async name");
    process.join().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    assert_eq!(runtime.block_on(add(1, 2)), 3);
}

/// Starts processes where a runtime runs.
#[mp::test]
#[tokio::test]
async fn processes_are_started_in_a_runtime() -> mp::Result<()> {
    let _watchdog = Watchdog::new();
    let process = mp::spawn!(add, 40, 2)?;
    let joined = tokio::task::spawn_blocking(|| process.join());
    assert_eq!(joined.await.expect("it does not panic")?, 42);
    Ok(())
}

/// On runtimes of two threads and of one.
#[mp::test]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_processes_are_joined_at_once() {
    let _watchdog = Watchdog::new();
    let joins: Vec<_> = (0..20)
        .map(|number| {
            let process = mp::spawn!(add, number, 1).unwrap();
            tokio::task::spawn_blocking(|| process.join())
        })
        .collect();
    for (number, join) in (1..).zip(joins) {
        assert_eq!(join.await.unwrap().unwrap(), number);
    }
}
