//! Awaiting processes.

use mp::ProcessError;
use multiproc_tests::watchdog::Watchdog;

#[mp::process_fn]
fn double(n: u64) -> u64 {
    2 * n
}

#[mp::process_fn]
fn fail() {
    panic!("on purpose");
}

#[mp::process_fn]
fn wait_for(event: mp::Event) -> u32 {
    event.wait().expect("waiting");
    7
}

#[mp::test]
#[tokio::test]
async fn awaiting_gives_what_joining_gives() {
    let _watchdog = Watchdog::new();
    assert_eq!(mp::spawn!(double, 21).unwrap().await, Ok(42));
    match mp::spawn!(fail).unwrap().await {
        Err(ProcessError::Panicked(panic)) => assert_eq!(panic.message(), "on purpose"),
        other => panic!("{other:?}"),
    }
}

#[mp::test]
#[tokio::test]
async fn a_task_that_awaits_lets_others_run() {
    let _watchdog = Watchdog::new();
    let event = mp::Event::new().unwrap();
    // On a runtime of one thread: the event is set only if awaiting the process does not block it.
    let process = mp::spawn!(wait_for, event.clone()).unwrap();
    let set = async { event.set() };
    let (value, ()) = tokio::join!(process, set);
    assert_eq!(value, Ok(7));
}

#[mp::test]
#[tokio::test]
async fn an_awaited_process_that_has_ended_is_ready() {
    let _watchdog = Watchdog::new();
    let process = mp::spawn!(double, 4).unwrap();
    process.wait();
    assert_eq!(process.await, Ok(8));
}

#[mp::test]
#[tokio::test]
async fn a_dropped_future_detaches_its_process() {
    let _watchdog = Watchdog::new();
    let event = mp::Event::new().unwrap();
    let process = mp::spawn!(wait_for, event.clone()).unwrap();
    let id = process.id();
    let mut future = std::pin::pin!(process.into_future());
    tokio::select! {
        biased;
        value = &mut future => panic!("it waits for the event, and gave {value:?}"),
        () = std::future::ready(()) => {}
    }
    let active = mp::active_children();
    let child = active
        .iter()
        .find(|child| child.id() == id)
        .expect("it runs on");
    event.set();
    assert!(child.wait().success());
}
