//! Waiting for what processes do that are killed at any moment. `MP_KILLS` sets how many.

mod common_shm;

use std::time::Duration;

use common_shm::{Random, kill, kills};
use mp::{RecvError, Sender};
use multiproc_tests::leaks::{apart, check};
use multiproc_tests::watchdog::Watchdog;

/// Does everything that can be waited for, without end.
#[mp::process_fn]
fn make_noise(queue: mp::Queue<u64>, event: mp::Event, tx: Sender<u64>) {
    for number in 0.. {
        queue.put(number).unwrap();
        event.set();
        if number % 5 == 0 {
            tx.send(number).unwrap();
        }
        event.clear();
    }
}

/// Makes the threads of the library, which stay.
fn warm_up() {
    let (queue, (_a, b)) = (
        mp::Queue::<u32>::new().expect("making a queue"),
        mp::pipe::<u32, u32>().expect("making a pipe"),
    );
    let ready = mp::wait(&[&queue, &b], Some(Duration::from_millis(1))).expect("waiting");
    assert!(ready.is_empty());
}

#[mp::test]
fn the_death_of_the_other_side_ends_the_waiting() {
    apart(|| {
        warm_up();
        let experiment = || {
            let mut random = Random::new();
            for _ in 0..kills() {
                let queue = mp::Queue::bounded(10).expect("making a queue");
                let event = mp::Event::new().expect("making an event");
                let (tx, rx) = mp::channel().expect("making a channel");
                let victim =
                    mp::spawn!(make_noise, queue.clone(), event.clone(), tx).expect("spawning");
                let child: mp::ChildProcess = victim.clone();
                let killer = std::thread::spawn(move || {
                    random.moment();
                    kill(victim);
                    random
                });
                let (mut next, mut dead, mut closed) = (0, false, false);
                while !(dead && closed) {
                    let ready = mp::wait(&[&queue, &rx, &event, &child], None).expect("waiting");
                    assert!(!ready.is_empty());
                    dead |= ready.contains(&3);
                    if ready.contains(&0) {
                        match queue.try_get() {
                            Ok(number) => {
                                assert_eq!(number, next);
                                next += 1;
                            }
                            // A leftover of its death that looked like an item.
                            Err(error) => assert_eq!(error, mp::TryGetError::Empty),
                        }
                    }
                    if ready.contains(&1) {
                        closed |= rx.try_recv() == Err(RecvError::Closed);
                    }
                    if ready.contains(&2) {
                        event.clear();
                    }
                }
                random = killer.join().expect("it does not panic");
                assert_eq!(
                    mp::wait(&[&rx, &child], Some(Duration::ZERO)).expect("waiting"),
                    [0, 1]
                );
            }
        };
        check(experiment);
    });
}

#[mp::process_fn]
fn take(queue: mp::Queue<u64>, event: mp::Event, rx: mp::Receiver<u64>, taken: mp::Queue<u64>) {
    loop {
        let ready = mp::wait(&[&event, &rx, &queue], None).unwrap();
        assert!(!ready.contains(&0), "nobody sets it");
        if let Ok(number) = queue.try_get() {
            taken.put(number).unwrap();
        }
    }
}

#[mp::process_fn(runtime = "tokio")]
async fn take_async(
    queue: mp::Queue<u64>,
    event: mp::Event,
    rx: mp::Receiver<u64>,
    taken: mp::Queue<u64>,
) {
    loop {
        tokio::select! {
            number = queue.get_async() => taken.put_async(number.unwrap()).await.unwrap(),
            _ = event.wait_async() => panic!("nobody sets it"),
            _ = rx.recv_async() => panic!("nobody sends"),
        }
    }
}

#[mp::test]
fn waiters_that_are_killed_leave_the_others_working() {
    apart(|| {
        warm_up();
        check(kill_waiters);
    });
}

fn kill_waiters() {
    const LAST: u64 = u64::MAX;
    let mut random = Random::new();
    let (queue, taken) = (
        mp::Queue::new().expect("making a queue"),
        mp::Queue::new().expect("making a queue"),
    );
    let event = mp::Event::new().expect("making an event");
    let start = |random: &mut Random| {
        let (tx, rx) = mp::channel().expect("making a channel");
        let (queue, event, taken) = (queue.clone(), event.clone(), taken.clone());
        let process = if random.below(2) == 0 {
            mp::spawn!(take, queue, event, rx, taken)
        } else {
            mp::spawn!(take_async, queue, event, rx, taken)
        };
        (process.expect("spawning"), tx)
    };
    let survivor = start(&mut random);
    let mut victims = vec![start(&mut random), start(&mut random)];
    let (mut put, mut got) = (0, 0);
    for _ in 0..kills() {
        for _ in 0..random.below(20) {
            queue.put(put).expect("putting");
            put += 1;
        }
        random.moment();
        let victim = random.below(2) as usize;
        kill(victims.swap_remove(victim).0);
        victims.push(start(&mut random));
        got += std::iter::from_fn(|| taken.try_get().ok()).count() as u64;
    }
    victims.into_iter().for_each(|(victim, _)| kill(victim));
    // The survivor goes on, and takes all that is left.
    queue.put(LAST).expect("putting");
    while taken.get().expect("getting") != LAST {
        got += 1;
    }
    assert!(queue.is_empty());
    // Each victim took at most one item with it.
    let victims = u64::from(kills()) + 2;
    assert!(got <= put && got + victims >= put, "{got} of {put}");
    kill(survivor.0);
}

#[mp::process_fn]
fn set_and_stay(event: mp::Event, stay: mp::Event) {
    event.set();
    stay.wait().unwrap();
}

/// An awaited process that is killed, among awaited queues, in one task.
#[mp::test]
#[tokio::test]
async fn the_death_of_an_awaited_process_is_told() {
    let _watchdog = Watchdog::new();
    let (event, stay) = (mp::Event::new().unwrap(), mp::Event::new().unwrap());
    let queue = mp::Queue::<u32>::new().unwrap();
    for _ in 0..kills() {
        event.clear();
        let process = mp::spawn!(set_and_stay, event.clone(), stay.clone()).unwrap();
        let child: mp::ChildProcess = process.clone();
        event.wait_async().await.unwrap();
        let killing = async { child.kill().unwrap() };
        let ended = async {
            tokio::select! {
                biased;
                _ = queue.get_async() => panic!("nobody puts"),
                _ = stay.wait_async() => panic!("nobody sets it"),
                ended = process => ended,
            }
        };
        let (ended, ()) = tokio::join!(ended, killing);
        assert!(
            matches!(ended, Err(mp::ProcessError::Signaled { signal: 9, .. })),
            "{ended:?}"
        );
    }
}
