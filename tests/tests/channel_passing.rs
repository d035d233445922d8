//! Connections that go from process to process, and how they end.

mod common_shm;

use common_shm::kill;
use mp::{Connection, Queue, RecvError, Sender, TryPutError};
use multiproc_tests::leaks::alone;
use serde::{Deserialize, Serialize};

type Numbers = Connection<u32, u32>;

#[mp::process_fn]
fn add_one(peer: Numbers) {
    while let Ok(number) = peer.recv() {
        peer.send(number + 1).expect("sending");
    }
}

fn works(peer: &Numbers) {
    peer.send(41).expect("sending");
    assert_eq!(peer.recv(), Ok(42));
}

/// Gives what it has of a connection to a child, and lets that answer.
#[mp::process_fn]
fn delegate(peer: Numbers, depth: u32) {
    let child = if depth == 0 {
        mp::spawn!(add_one, peer)
    } else {
        mp::spawn!(delegate, peer, depth - 1)
    };
    child.expect("spawning").join().expect("it ends");
}

#[mp::test]
fn a_connection_goes_to_a_grandchild() {
    alone(|| {
        let (mine, theirs) = mp::pipe().expect("making a pipe");
        let child = mp::spawn!(delegate, theirs, 2).expect("spawning");
        works(&mine);
        drop(mine);
        child.join().expect("it ends");
    });
}

#[derive(Serialize, Deserialize)]
enum Parcel {
    Ends(Vec<Numbers>, String),
    Nothing,
}

#[mp::process_fn]
fn answer_on_all(peers: Connection<(), Parcel>) {
    while let Ok(parcel) = peers.recv() {
        match parcel {
            Parcel::Nothing => {}
            Parcel::Ends(peers, text) => {
                assert!(text.chars().all(|c| c == 'x'));
                std::thread::scope(|scope| {
                    for peer in peers {
                        scope.spawn(|| add_one(peer));
                    }
                });
            }
        }
    }
}

#[mp::test]
fn connections_go_over_connections() {
    alone(|| {
        let (mine, theirs) = mp::pipe().expect("making a pipe");
        let child = mp::spawn!(answer_on_all, theirs).expect("spawning");
        for length in [0, 100, 20_000] {
            let (near, far): (Vec<_>, Vec<_>) =
                (0..5).map(|_| mp::pipe().expect("making a pipe")).unzip();
            mine.send(Parcel::Nothing).expect("sending");
            mine.send(Parcel::Ends(far, "x".repeat(length)))
                .expect("sending");
            near.iter().for_each(works);
        }
        drop(mine);
        child.join().expect("it ends");
    });
}

#[mp::test]
fn connections_that_nobody_receives_are_closed() {
    alone(|| {
        let (a, b) = mp::pipe::<Numbers, ()>().expect("making a pipe");
        let (near, far) = mp::pipe().expect("making a pipe");
        a.send(far).expect("sending");
        drop((a, b));
        assert_eq!(near.recv(), Err(RecvError::Closed));
    });
}

#[mp::test]
fn an_end_that_was_sent_over_its_own_pipe_is_closed_with_it() {
    alone(|| {
        let (a, b) = mp::pipe::<Option<Itself>, Option<Itself>>().expect("making a pipe");
        a.send(Some(Itself(Box::new(b)))).expect("sending");
        drop(a);
    });
}

#[derive(Serialize, Deserialize)]
struct Itself(Box<Connection<Option<Itself>, Option<Itself>>>);

#[mp::test]
fn a_queue_that_is_shut_down_gives_connections_back() {
    alone(|| {
        let queue = Queue::new().expect("making a queue");
        let (mine, theirs) = mp::pipe().expect("making a pipe");
        let child = mp::spawn!(add_one, theirs).expect("spawning");
        queue.shutdown().expect("shutting down");
        match queue.put(("a name".to_owned(), mine)) {
            Err(TryPutError::Shutdown((_, mine))) => works(&mine),
            other => panic!("{other:?}"),
        }
        child.join().expect("it ends");
    });
}

#[mp::process_fn]
fn give_back(peer: Numbers) -> Numbers {
    peer
}

#[mp::test]
fn a_connection_comes_back_as_a_return_value() {
    alone(|| {
        let (mine, theirs) = mp::pipe().expect("making a pipe");
        let theirs = mp::spawn!(give_back, theirs)
            .expect("spawning")
            .join()
            .expect("it ends");
        std::thread::scope(|scope| {
            scope.spawn(|| add_one(theirs));
            works(&mine);
            drop(mine);
        });
    });
}

#[mp::test]
fn a_connection_in_a_return_value_that_nobody_takes_is_closed() {
    alone(|| {
        let (mine, theirs) = mp::pipe::<u32, u32>().expect("making a pipe");
        let child = mp::spawn!(give_back, theirs).expect("spawning");
        child.wait();
        // It waits for whoever joins.
        assert_eq!(mine.try_recv(), Err(RecvError::Empty));
        drop(child);
        assert_eq!(mine.recv(), Err(RecvError::Closed));
    });
}

/// How a process ends.
#[derive(Clone, Copy, Serialize, Deserialize)]
enum End {
    Return,
    Exit,
    Abort,
    Panic,
    Wait,
}

#[mp::process_fn]
fn send_and_end(tx: Sender<Vec<u8>>, end: End) {
    for length in [3, 30_000] {
        tx.send(vec![5; length]).expect("sending");
    }
    match end {
        End::Return => {}
        End::Exit => std::process::exit(3),
        End::Abort => std::process::abort(),
        End::Panic => std::panic::resume_unwind(Box::new("on purpose")),
        End::Wait => loop {
            std::thread::park();
        },
    }
}

#[mp::test]
fn the_end_of_a_process_is_the_end_of_its_connections() {
    alone(|| {
        for end in [End::Return, End::Exit, End::Abort, End::Panic, End::Wait] {
            let (tx, rx) = mp::channel().expect("making a channel");
            let child = mp::spawn!(send_and_end, tx, end).expect("spawning");
            assert_eq!(rx.recv(), Ok(vec![5; 3]));
            let child = match end {
                End::Wait => {
                    kill_after(&rx, child);
                    None
                }
                _ => Some(child),
            };
            if child.is_some() {
                assert_eq!(rx.recv(), Ok(vec![5; 30_000]));
            }
            assert_eq!(rx.recv(), Err(RecvError::Closed));
            if let Some(child) = child {
                child.wait();
            }
        }
    });
}

/// Kills a child when its last message is there, and receives that afterwards.
fn kill_after(rx: &mp::Receiver<Vec<u8>>, child: mp::Process<()>) {
    assert!(rx.poll(common_shm::LONG).expect("polling"));
    kill(child);
    assert_eq!(rx.recv(), Ok(vec![5; 30_000]));
}

/// Answers the first request, and is killed with others in its end.
#[mp::process_fn]
fn answer_once(peer: Connection<String, u32>) {
    let number = peer.recv().expect("receiving");
    peer.send(format!("got {number}")).expect("sending");
    loop {
        std::thread::park();
    }
}

#[mp::test]
fn an_answer_arrives_though_its_sender_died_with_requests_unread() {
    alone(|| {
        let (mine, theirs) = mp::pipe().expect("making a pipe");
        let child = mp::spawn!(answer_once, theirs).expect("spawning");
        for number in 0..5 {
            mine.send(number).expect("sending");
        }
        assert!(mine.poll(common_shm::LONG).expect("polling"));
        kill(child);
        assert_eq!(mine.recv(), Ok("got 0".to_owned()));
        assert_eq!(mine.recv(), Err(RecvError::Closed));
        assert!(mine.send(9).expect_err("nobody is there").is_closed());
    });
}
