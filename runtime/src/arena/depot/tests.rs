//! A depot as the dead leave it.

use std::fs::File;
use std::io::IoSlice;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard};

use super::{Label, Wanted};
use crate::arena::{Arena, Outgoing, Parcel, arena};
use crate::queue::Queue;
use crate::sys::{self, AsFd, BorrowedFd, OwnedFd};

/// The arena, whose depot the tests of this file use one after the other.
fn alone() -> (&'static Arena, MutexGuard<'static, ()>) {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    (arena().expect("the arena is there"), alone)
}

fn null() -> OwnedFd {
    File::open("/dev/null").expect("it is there").into()
}

/// A message with descriptors.
fn message(arena: &'static Arena, fds: usize) -> Parcel {
    let mut outgoing = Outgoing {
        objects: Vec::new(),
        fds: (0..fds).map(|_| null()).collect(),
        ..Outgoing::default()
    };
    Parcel::new(arena, b"message", &mut outgoing).expect("there is room")
}

/// How many descriptors a message has.
fn taken(message: &Parcel) -> usize {
    message.take_fds().expect("they are there").len()
}

/// How many packets are in the depot, whatever they are.
fn packets(arena: &Arena) -> usize {
    let buffer = sys::send_buffer(arena.depot.entrance.as_fd()).expect("it is a socket");
    let one = {
        let (a, _b) = sys::packet_pair().expect("making a pair");
        let bytes = Label::default().to_bytes();
        sys::offer_packet(a.as_fd(), &[IoSlice::new(&bytes)], &[]).expect("there is room");
        sys::send_buffer(a.as_fd()).expect("it is a socket").used
    };
    buffer.used / one
}

#[test]
fn what_others_write_into_it_is_dropped() {
    let (arena, _alone) = alone();
    let file = null();
    let first = message(arena, 2);
    for bytes in [&[0_u8][..], &[255; 23], &[255; 24], &[1; 100]] {
        let entrance = arena.depot.entrance.as_fd();
        sys::offer_packet(entrance, &[IoSlice::new(bytes)], &[file.as_fd()])
            .expect("there is room");
    }
    let second = message(arena, 3);
    assert_eq!(taken(&second), 3);
    assert_eq!(taken(&first), 2);
    drop((first, second));
    assert_eq!(arena.count_parked().expect("counting"), 0);
    assert_eq!(packets(arena), 0);
}

/// Who moves a packet dies when it is there twice.
#[test]
fn a_copy_that_a_dead_mover_left_is_dropped() {
    let (arena, _alone) = alone();
    let copied = message(arena, 2);
    let between = message(arena, 1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let depot = arena.at_depot();
            let label = depot.first().expect("looking").expect("there is one");
            let fds = [null(), null()];
            let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
            depot.put(label, &fds).expect("there is room");
            std::mem::forget(depot);
        });
    });
    assert_eq!(packets(arena), 3);
    assert!(arena.at_depot().is_untidy(), "its owner died");
    assert_eq!(taken(&copied), 2);
    assert_eq!(packets(arena), 2);
    drop(copied);
    assert_eq!(packets(arena), 1);
    assert!(!arena.at_depot().is_untidy());
    assert_eq!(taken(&between), 1);
    assert_eq!(packets(arena), 0);
}

#[test]
fn going_round_keeps_one_of_two_copies() {
    let (arena, _alone) = alone();
    let messages = [message(arena, 1), message(arena, 2), message(arena, 3)];
    for _ in 0..2 {
        let depot = arena.at_depot();
        let label = depot.first().expect("looking").expect("there is one");
        let file = null();
        depot.put(label, &[file.as_fd()]).expect("there is room");
    }
    assert_eq!(packets(arena), 5);
    assert_eq!(arena.count_parked().expect("counting"), 6);
    assert_eq!(packets(arena), 3);
    for (message, fds) in messages.iter().zip(1..) {
        assert_eq!(taken(message), fds);
    }
}

#[test]
fn what_is_taken_already_is_an_error() {
    let (arena, _alone) = alone();
    let other = message(arena, 1);
    let message = message(arena, 1);
    assert_eq!(taken(&message), 1);
    let error = message.take_fds().expect_err("they are gone").to_string();
    assert!(error.contains("not there"), "{error}");
    assert_eq!(taken(&other), 1);
}

/// A message that dies after some of its packets were taken.
#[test]
fn the_rest_of_a_message_goes_with_it() {
    let (arena, _alone) = alone();
    let message = message(arena, 600);
    assert_eq!(packets(arena), 3);
    let label = arena
        .at_depot()
        .first()
        .expect("looking")
        .expect("it is there");
    let wanted = Wanted {
        serial: label.serial,
        packets: 1,
    };
    let found = arena.at_depot().take(wanted).expect("it is there");
    assert_eq!(found[0].1.len(), 253);
    drop(message);
    assert_eq!(packets(arena), 0);
}

/// Where nothing can be moved, packets are copied from where they are.
#[test]
fn any_packet_can_be_copied_and_stays() {
    let (arena, _alone) = alone();
    let messages = [message(arena, 2), message(arena, 300), message(arena, 3)];
    let depot = arena.at_depot();
    let first = depot.first().expect("looking").expect("there is one");
    for (nth, packets, fds) in [(2, 1, 3), (1, 2, 300), (0, 1, 2), (2, 1, 3)] {
        let wanted = Wanted {
            serial: arena
                .header(messages[nth].descriptors())
                .serial
                .load(Ordering::Relaxed),
            packets,
        };
        let mut found = Vec::new();
        depot.copy(wanted, &mut found).expect("copying");
        sys::peek_from(depot.exit(), None).expect("it is a socket");
        assert_eq!(found.iter().map(|(_, fds)| fds.len()).sum::<usize>(), fds);
        assert_eq!(depot.first().expect("looking"), Some(first));
    }
    // Who dies while it copies leaves the others at the beginning again.
    drop(depot);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let depot = arena.at_depot();
            sys::peek_from(depot.exit(), Some(Label::LENGTH)).expect("it is a socket");
            std::mem::forget(depot);
        });
    });
    assert_eq!(packets(arena), 4);
    assert_eq!(messages.each_ref().map(taken), [2, 300, 3]);
    drop(messages);
    assert_eq!(packets(arena), 0);
}

#[test]
fn they_are_no_handle_of_anything_else() {
    let (arena, _alone) = alone();
    let message = message(arena, 1);
    let label = arena
        .at_depot()
        .first()
        .expect("looking")
        .expect("it is there");
    for (serial, words) in [
        (label.serial, "a message's descriptors"),
        (label.serial + 1, "altered"),
    ] {
        let forged = Queue::new().expect("making a queue");
        forged.put(Changed(label.object, serial)).expect("putting");
        let error = forged.get().expect_err("it is no queue").to_string();
        assert!(error.contains(words), "{words}: {error}");
    }
    assert_eq!(taken(&message), 1);
}

/// Sent as two numbers, received as a queue.
#[derive(Debug)]
struct Changed(u64, u64);

impl serde::Serialize for Changed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.0, self.1).serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Changed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Queue::<u8>::deserialize(deserializer).map(|_| Self(0, 0))
    }
}
