//! Connections whose peers are killed at any moment. `MP_KILLS` sets how many.

mod common_shm;

use common_shm::{Random, kill, kills, stats};
use mp::{Connection, RecvError};
use multiproc_tests::leaks::alone;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Message {
    number: u64,
    payload: Vec<u8>,
    event: Option<mp::Event>,
}

impl Message {
    fn new(number: u64) -> Self {
        let length = match number % 5 {
            0 => 20_000,
            1 => 500,
            _ => 3,
        };
        let event = number
            .is_multiple_of(3)
            .then(|| mp::Event::new().expect("making an event"));
        Self {
            number,
            payload: vec![number as u8; length],
            event,
        }
    }

    fn check(&self, number: u64) {
        assert_eq!(self.number, number);
        let expected = Self::new(number);
        assert_eq!(self.payload, expected.payload);
        assert_eq!(self.event.is_some(), expected.event.is_some());
    }
}

#[mp::process_fn]
fn send(peer: Connection<Message, ()>) {
    for number in 0.. {
        peer.send(Message::new(number)).expect("sending");
    }
}

#[mp::test]
fn what_a_killed_sender_sent_arrives_in_order_and_then_the_end() {
    alone(|| {
        let mut random = Random::new();
        let before = stats();
        for _ in 0..kills() {
            let (mine, theirs) = mp::pipe().expect("making a pipe");
            let victim = mp::spawn!(send, theirs).expect("spawning");
            let mut number = 0;
            mine.recv().expect("receiving").check(number);
            random.moment();
            // It may wait for room when it is killed, or not.
            for _ in 0..random.below(500) {
                number += 1;
                mine.recv().expect("receiving").check(number);
            }
            kill(victim);
            loop {
                number += 1;
                match mine.recv() {
                    Ok(message) => message.check(number),
                    Err(error) => {
                        assert_eq!(error, RecvError::Closed);
                        break;
                    }
                }
            }
            drop(mine);
            assert_eq!(stats(), before);
        }
    });
}

#[mp::process_fn]
fn receive(peer: Connection<(), Message>, ready: mp::Event) {
    for number in 0.. {
        peer.recv().expect("receiving").check(number);
        ready.set();
    }
}

#[mp::test]
fn sending_to_a_killed_receiver_fails_and_leaves_nothing() {
    alone(|| {
        let mut random = Random::new();
        let ready = mp::Event::new().expect("making an event");
        let before = stats();
        for _ in 0..kills() {
            let (mine, theirs) = mp::pipe().expect("making a pipe");
            ready.clear();
            let victim = mp::spawn!(receive, theirs, ready.clone()).expect("spawning");
            let mut number = 0;
            while !ready.is_set() {
                mine.send(Message::new(number)).expect("sending");
                number += 1;
            }
            for _ in 0..random.below(300) {
                mine.send(Message::new(number)).expect("sending");
                number += 1;
            }
            kill(victim);
            assert!(
                mine.send(Message::new(number))
                    .expect_err("nobody is there")
                    .is_closed()
            );
            drop(mine);
            assert_eq!(stats(), before);
        }
    });
}
