//! What is left of a connection when one of its ends is gone.

use mp::{RecvError, SendError};

#[mp::test]
fn what_was_sent_before_the_end_is_received() {
    let (a, b) = mp::pipe::<u32, u32>().expect("making a pipe");
    b.send(1).expect("sending");
    b.send(2).expect("sending");
    drop(b);
    assert_eq!(a.recv(), Ok(1));
    assert_eq!(a.recv(), Ok(2));
    assert_eq!(a.recv(), Err(RecvError::Closed));
    assert_eq!(a.recv(), Err(RecvError::Closed));
}

#[mp::test]
fn what_was_sent_before_the_end_is_received_though_the_peer_left_messages_unread() {
    let (a, b) = mp::pipe::<u32, u32>().expect("making a pipe");
    a.send(7).expect("sending");
    b.send(1).expect("sending");
    b.send(2).expect("sending");
    drop(b);
    assert_eq!(a.recv(), Ok(1));
    assert_eq!(a.recv(), Ok(2));
    assert_eq!(a.recv(), Err(RecvError::Closed));
}

#[mp::test]
fn bytes_sent_before_the_end_are_received_though_the_peer_left_messages_unread() {
    let (a, b) = mp::pipe::<u32, u32>().expect("making a pipe");
    a.send(7).expect("sending");
    b.send_bytes(b"last").expect("sending");
    drop(b);
    let mut buffer = [0; 10];
    assert_eq!(a.recv_bytes_into(&mut buffer), Ok(4));
    assert_eq!(&buffer[..4], b"last");
}

#[mp::test]
fn sending_to_a_closed_peer_gives_the_value_back() {
    let (a, b) = mp::pipe::<String, ()>().expect("making a pipe");
    drop(b);
    for _ in 0..2 {
        match a.send("mine".to_owned()) {
            Err(SendError::Closed(value)) => assert_eq!(value, "mine"),
            other => panic!("{other:?}"),
        }
    }
    let long = "long".repeat(100_000);
    assert_eq!(a.send(long.clone()).unwrap_err().into_inner(), long);
}
