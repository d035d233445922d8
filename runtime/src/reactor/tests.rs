//! Watches on words and descriptors, without objects around them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::task::{Wake, Waker};
use std::thread;
use std::time::Duration;

use super::{FdWatch, WordWatch};
use crate::sys::{self, AsFd};

/// How long something may take that ought to happen at once.
const LONG: Duration = Duration::from_secs(30);

/// Tells when it wakes.
struct Bell(Sender<u32>, u32);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // Nobody listens any more when the test is over.
        let _ = self.0.send(self.1);
    }
}

/// Wakers that tell their numbers.
struct Bells(Sender<u32>, Receiver<u32>);

impl Bells {
    fn new() -> Self {
        let (tx, rx) = mpsc::channel();
        Self(tx, rx)
    }

    fn waker(&self, number: u32) -> Waker {
        Arc::new(Bell(self.0.clone(), number)).into()
    }

    /// The number of the next that wakes.
    fn next(&self) -> u32 {
        self.1.recv_timeout(LONG).expect("nobody is woken")
    }
}

fn word(value: u32) -> &'static AtomicU32 {
    Box::leak(Box::new(AtomicU32::new(value)))
}

fn change(word: &AtomicU32) {
    word.fetch_add(1, Ordering::SeqCst);
    sys::futex_wake(word, u32::MAX);
}

#[test]
fn a_change_before_the_watch_wakes() {
    let bells = Bells::new();
    let _watch = WordWatch::new(word(7), 6, bells.waker(1)).expect("watching");
    assert_eq!(bells.next(), 1);
}

#[test]
fn all_who_watch_a_word_are_woken() {
    let (bells, word) = (Bells::new(), word(7));
    let watch = |number| WordWatch::new(word, 7, bells.waker(number)).expect("watching");
    let _watches = [watch(1), watch(2), watch(3)];
    drop(watch(4));
    change(word);
    let mut woken = [bells.next(), bells.next(), bells.next()];
    woken.sort_unstable();
    assert_eq!(woken, [1, 2, 3]);
}

#[test]
fn a_later_value_makes_those_before_look_again() {
    let (bells, word) = (Bells::new(), word(7));
    let _early = WordWatch::new(word, 7, bells.waker(1)).expect("watching");
    // Announced, and not yet changed for the first one to see.
    word.store(8, Ordering::SeqCst);
    let _late = WordWatch::new(word, 8, bells.waker(2)).expect("watching");
    assert_eq!(bells.next(), 1);
    change(word);
    assert_eq!(bells.next(), 2);
}

#[test]
fn who_watches_looks_now_and_then() {
    let bells = Bells::new();
    let _watch = WordWatch::new(word(7), 7, bells.waker(1)).expect("watching");
    assert_eq!(bells.next(), 1);
}

#[test]
fn a_watch_that_is_dropped_keeps_no_waker() {
    let bell = Arc::new(Bell(mpsc::channel().0, 1));
    let (word, (a, b)) = (word(7), sys::packet_pair().expect("a pair"));
    for _ in 0..100 {
        let waker = || Waker::from(Arc::clone(&bell));
        let watches = (
            WordWatch::new(word, 7, waker()).expect("watching"),
            FdWatch::new(a.as_fd(), waker()).expect("watching"),
            FdWatch::new(a.as_fd(), waker()).expect("watching"),
            FdWatch::new(b.as_fd(), waker()).expect("watching"),
        );
        drop(watches);
    }
    // The thread may be about to wake one.
    while Arc::strong_count(&bell) > 1 {
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_descriptor_wakes_all_who_watch_it_once() {
    let (a, b) = sys::packet_pair().expect("a pair");
    let bells = Bells::new();
    let watch = |number| FdWatch::new(b.as_fd(), bells.waker(number)).expect("watching");
    let watches = [watch(1), watch(2)];
    drop(watch(3));
    drop(a);
    let mut woken = [bells.next(), bells.next()];
    woken.sort_unstable();
    assert_eq!(woken, [1, 2]);
    drop(watches);
    // What is readable already.
    let _again = watch(4);
    assert_eq!(bells.next(), 4);
    assert!(bells.1.try_recv().is_err());
}

#[test]
fn a_descriptor_of_a_number_used_again_is_another_one() {
    let bells = Bells::new();
    let (_a, b) = sys::packet_pair().expect("a pair");
    let forgotten = FdWatch::new(b.as_fd(), bells.waker(1)).expect("watching");
    std::mem::forget(forgotten);
    drop(b);
    // Likely of the number of the one that was closed.
    let (c, d) = sys::packet_pair().expect("a pair");
    let _watches = [
        FdWatch::new(c.as_fd(), bells.waker(2)).expect("watching"),
        FdWatch::new(d.as_fd(), bells.waker(2)).expect("watching"),
    ];
    drop(sys::send_packet(
        c.as_fd(),
        &[std::io::IoSlice::new(b"x")],
        &[],
    ));
    while bells.next() != 2 {}
}

#[test]
fn a_waker_that_panics_or_watches_again_does_no_harm() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            // Without a message.
            std::panic::resume_unwind(Box::new(()));
        }
    }
    /// Drops one watch and makes another, on the thread that wakes.
    struct Nested(
        std::sync::Mutex<Option<WordWatch>>,
        &'static AtomicU32,
        Waker,
    );
    impl Wake for Nested {
        fn wake(self: Arc<Self>) {
            let other = WordWatch::new(self.1, 0, self.2.clone()).expect("watching");
            *self.0.lock().expect("no panic") = Some(other);
        }
    }
    let (bells, word) = (Bells::new(), word(7));
    let nested = Arc::new(Nested(Default::default(), word, bells.waker(5)));
    let panics = WordWatch::new(word, 7, Arc::new(Panics).into()).expect("watching");
    let watch = WordWatch::new(word, 7, Arc::clone(&nested).into()).expect("watching");
    change(word);
    assert_eq!(bells.next(), 5);
    drop((panics, watch));
    drop(nested);
}
