//! Packets that this library did not write.

use std::io::IoSlice;

use super::{Connection, pipe};
use crate::error::RecvError;
use crate::sys::{self, AsFd};

fn write(connection: &Connection<String, String>, packet: &[u8]) {
    sys::send_packet(connection.as_fd(), &[IoSlice::new(packet)], &[]).expect("sending");
}

#[test]
fn packets_of_others_are_errors_and_the_next_message_is_there() {
    let (a, b) = pipe::<String, String>().expect("making a pipe");
    let mut named = vec![2];
    named.extend(4096_u64.to_le_bytes());
    let mut longer = named.clone();
    longer.push(0);
    let packets: [&[u8]; 7] = [
        &[4],
        &[255, 1, 2],
        &[2],
        &[2, 1, 2, 3],
        &named,
        &longer,
        &[0, 0xff, 0xff],
    ];
    for packet in packets {
        write(&a, packet);
        assert!(
            matches!(b.recv(), Err(RecvError::Failed(_) | RecvError::Decode(_))),
            "{packet:?}"
        );
        write(&a, packet);
        assert!(b.recv_bytes().is_err(), "{packet:?}");
        if packet[0] == 0 {
            assert!(b.recv().is_err(), "a value is still there");
        }
    }
    a.send("fine".to_owned()).expect("sending");
    assert_eq!(b.recv(), Ok("fine".to_owned()));
}

#[test]
fn a_parcel_is_received_once() {
    let (a, b) = pipe::<String, String>().expect("making a pipe");
    let text = "long".repeat(10_000);
    a.send(text.clone()).expect("sending");
    // The packet, read past the library.
    let mut packet = [0; 100];
    let Ok(sys::Packet::Message(length, _)) = sys::receive_packet(b.as_fd(), &mut packet, true)
    else {
        panic!("a message is there");
    };
    assert_eq!(b.recv(), Ok(text));
    write(&a, &packet[..length]);
    assert!(matches!(b.recv(), Err(RecvError::Failed(_))));
}

#[test]
fn a_parcel_is_received_by_its_own_pipe_only() {
    let (a, b) = pipe::<String, String>().expect("making a pipe");
    let (other_a, other_b) = pipe::<String, String>().expect("making a pipe");
    let text = "long".repeat(10_000);
    a.send(text.clone()).expect("sending");
    let mut packet = [0; 100];
    let Ok(sys::Packet::Message(length, _)) = sys::receive_packet(b.as_fd(), &mut packet, true)
    else {
        panic!("a message is there");
    };
    write(&other_a, &packet[..length]);
    assert!(matches!(other_b.recv(), Err(RecvError::Failed(_))));
    // Nor by the end that sent it.
    write(&b, &packet[..length]);
    assert!(matches!(a.recv(), Err(RecvError::Failed(_))));
    assert_eq!(b.recv(), Ok(text));
}
