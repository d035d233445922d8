//! What goes over connections.

mod common_shm;

use std::time::Duration;

use common_shm::LONG;
use mp::{Connection, Receiver, RecvError, SendError, Sender};
use multiproc_tests::leaks::alone;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[mp::process_fn]
fn double(peer: Connection<String, u32>) {
    while let Ok(number) = peer.recv() {
        peer.send((2 * number).to_string()).expect("sending");
    }
}

#[mp::test]
fn a_pipe_goes_both_ways() {
    alone(|| {
        let (mine, theirs) = mp::pipe().expect("making a pipe");
        let other = mp::spawn!(double, theirs).expect("spawning");
        for number in 0..2000 {
            mine.send(number).expect("sending");
            assert_eq!(mine.recv(), Ok((2 * number).to_string()));
        }
        drop(mine);
        other.join().expect("it ends");
    });
}

#[mp::process_fn]
fn send_words(tx: Sender<String>, words: Vec<String>) {
    for word in words {
        tx.send(word).expect("sending");
    }
}

#[mp::process_fn]
fn count(rx: Receiver<u64>) -> u64 {
    let mut sum = 0;
    while let Ok(number) = rx.recv() {
        sum += number;
    }
    sum
}

#[mp::test]
fn a_channel_goes_one_way() {
    alone(|| {
        let (tx, rx) = mp::channel().expect("making a channel");
        let words = ["tea", "", "toast"].map(str::to_owned).to_vec();
        let sender = mp::spawn!(send_words, tx, words.clone()).expect("spawning");
        let mut received = Vec::new();
        while let Ok(word) = rx.recv() {
            received.push(word);
        }
        assert_eq!(received, words);
        sender.join().expect("it ends");

        let (tx, rx) = mp::channel().expect("making a channel");
        let receiver = mp::spawn!(count, rx).expect("spawning");
        for number in 0..5000 {
            tx.send(number).expect("sending");
        }
        drop(tx);
        assert_eq!(receiver.join().expect("it ends"), 5000 * 4999 / 2);
    });
}

/// Sends large messages, and only then receives as many.
#[mp::process_fn]
fn send_then_receive(peer: Connection<Vec<u8>, Vec<u8>>, count: usize) -> bool {
    for number in 0..count {
        peer.send(vec![number as u8; 10 << 20]).expect("sending");
    }
    (0..count).all(|number| peer.recv() == Ok(vec![number as u8; 10 << 20]))
}

#[mp::test]
fn large_messages_may_be_sent_both_ways_at_once() {
    alone(|| {
        let (mine, theirs) = mp::pipe().expect("making a pipe");
        let other = mp::spawn!(send_then_receive, theirs, 5).expect("spawning");
        for number in 0..5 {
            mine.send(vec![number; 10 << 20]).expect("sending");
        }
        for number in 0..5 {
            assert!(mine.recv() == Ok(vec![number; 10 << 20]));
        }
        assert!(other.join().expect("it ends"));
    });
}

#[mp::test]
fn messages_of_bytes_may_have_any_size() {
    alone(|| {
        let (a, b) = mp::pipe::<(), ()>().expect("making a pipe");
        for length in [0, 1, 55, 8191, 8192, 8193, 100_000, 5 << 20] {
            let bytes: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
            a.send_bytes(&bytes).expect("sending");
            assert!(b.recv_bytes().expect("receiving") == bytes);
            b.send_bytes(&bytes).expect("sending");
            let mut buffer = vec![0; length + 3];
            assert_eq!(a.recv_bytes_into(&mut buffer), Ok(length));
            assert!(buffer[..length] == bytes && buffer[length..] == [0; 3]);
        }
    });
}

#[mp::test]
fn a_message_that_is_too_long_for_a_buffer_stays() {
    alone(|| {
        let (a, b) = mp::pipe::<(), ()>().expect("making a pipe");
        for length in [11, 50_000] {
            let bytes = vec![9; length];
            a.send_bytes(&bytes).expect("sending");
            let mut buffer = [0; 10];
            for _ in 0..3 {
                let refused = b.recv_bytes_into(&mut buffer);
                assert_eq!(refused, Err(RecvError::TooLong { length, buffer: 10 }));
            }
            assert_eq!(buffer, [0; 10]);
            assert!(b.recv_bytes().expect("receiving") == bytes);
        }
        a.send_bytes(&[1; 10]).expect("sending");
        assert_eq!(b.recv_bytes_into(&mut [0; 10]), Ok(10));
    });
}

#[mp::test]
fn waiting_may_end_without_a_message() {
    alone(|| {
        let (a, b) = mp::pipe::<u8, u8>().expect("making a pipe");
        assert_eq!(b.try_recv(), Err(RecvError::Empty));
        for timeout in [Duration::ZERO, Duration::from_millis(20)] {
            assert_eq!(b.recv_timeout(timeout), Err(RecvError::TimedOut));
            assert_eq!(b.poll(timeout).ok(), Some(false));
        }
        a.send(1).expect("sending");
        for timeout in [Duration::ZERO, LONG, Duration::MAX] {
            assert_eq!(b.poll(timeout).ok(), Some(true), "and it stays");
        }
        assert_eq!(b.recv_timeout(LONG), Ok(1));
        a.send(2).expect("sending");
        assert_eq!(b.recv_timeout(Duration::ZERO), Ok(2));
        a.send(3).expect("sending");
        assert_eq!(b.try_recv(), Ok(3));
        drop(a);
        assert_eq!(b.poll(Duration::ZERO).ok(), Some(true), "the end is there");
        assert_eq!(b.try_recv(), Err(RecvError::Closed));
        assert_eq!(b.recv_timeout(LONG), Err(RecvError::Closed));
    });
}

#[mp::test]
fn values_and_bytes_are_told_apart() {
    alone(|| {
        let (a, b) = mp::pipe::<String, ()>().expect("making a pipe");
        a.send("value".to_owned()).expect("sending");
        let error = b.recv_bytes().expect_err("it is a value");
        assert!(
            error.to_string().contains("receive it with `recv`"),
            "{error}"
        );
        assert_eq!(b.recv(), Ok("value".to_owned()), "it is still there");
        a.send_bytes(b"bytes").expect("sending");
        match b.recv() {
            Err(RecvError::Decode(error)) => {
                assert!(error.to_string().contains("recv_bytes"), "{error}");
            }
            other => panic!("{other:?}"),
        }
        a.send("next".to_owned()).expect("sending");
        assert_eq!(b.recv(), Ok("next".to_owned()));
    });
}

/// Is encoded as a number and decoded as a text.
#[derive(Debug, PartialEq)]
enum Confused {
    Number(u32),
    Text(String),
}

impl Serialize for Confused {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Confused::Number(number) => number.serialize(serializer),
            Confused::Text(text) => text.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Confused {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Confused::Text)
    }
}

#[mp::test]
fn a_message_of_another_type_is_an_error_and_the_next_one_is_there() {
    alone(|| {
        let (a, b) = mp::pipe::<Confused, ()>().expect("making a pipe");
        a.send(Confused::Number(77_777)).expect("sending");
        a.send(Confused::Text("fine".to_owned())).expect("sending");
        match b.recv() {
            Err(RecvError::Decode(error)) => {
                assert!(error.to_string().contains("Confused"), "{error}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(b.recv(), Ok(Confused::Text("fine".to_owned())));
    });
}

#[mp::test]
fn a_value_that_cannot_be_encoded_comes_back() {
    #[derive(Debug, Deserialize)]
    struct Never;
    impl Serialize for Never {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not today"))
        }
    }
    alone(|| {
        let (a, b) = mp::pipe::<Never, ()>().expect("making a pipe");
        match a.send(Never) {
            Err(SendError::Encode(Never, error)) => {
                assert!(error.to_string().contains("not today"), "{error}");
            }
            other => panic!("{other:?}"),
        }
        drop(a);
        assert!(matches!(b.recv(), Err(RecvError::Closed)));
    });
}

#[mp::test]
fn what_nobody_receives_is_freed() {
    alone(|| {
        let (a, b) = mp::pipe::<Vec<mp::Event>, Vec<u8>>().expect("making a pipe");
        for _ in 0..20 {
            let events = (0..5).map(|_| mp::Event::new().expect("making an event"));
            a.send(events.collect()).expect("sending");
            b.send(vec![1; 100_000]).expect("sending");
        }
        b.recv().expect("receiving");
    });
}
