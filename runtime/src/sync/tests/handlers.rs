//! An event that a signal handler sets.

use std::mem::MaybeUninit;
use std::os::unix::thread::JoinHandleExt;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

use crate::sync::Event;

static EVENT: OnceLock<Event> = OnceLock::new();
static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn set_event(_signal: libc::c_int) {
    if let Some(event) = EVENT.get() {
        event.set();
    }
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// The handler interrupts a thread that sets, clears and looks at the same event, at any instruction, while another waits.
#[test]
fn a_handler_may_set_an_event_in_the_middle_of_anything() {
    let event = EVENT.get_or_init(|| Event::new().expect("making an event"));
    // SAFETY: the handler sets an event and counts, which needs no lock and no memory; no other test uses this signal.
    let result = unsafe {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        action.sa_sigaction = set_event as extern "C" fn(libc::c_int) as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        libc::sigemptyset(&mut action.sa_mask);
        libc::sigaction(libc::SIGUSR1, &action, ptr::null_mut())
    };
    assert_eq!(result, 0);
    let enough = || HANDLED.load(Ordering::Relaxed) >= 2000;
    let user = thread::spawn(move || {
        while !enough() {
            event.set();
            event.clear();
            let _ = event.is_set();
        }
    });
    let waiter = thread::spawn(move || {
        let mut woken = 0;
        while !enough() {
            event.wait().expect("waiting");
            woken += 1;
        }
        woken
    });
    let began = Instant::now();
    while !enough() {
        // SAFETY: the thread has not been joined.
        unsafe { libc::pthread_kill(user.as_pthread_t(), libc::SIGUSR1) };
        assert!(began.elapsed() < super::LONG, "it hangs");
        thread::yield_now();
    }
    user.join().expect("no panic");
    event.set();
    assert!(waiter.join().expect("no panic") > 0);
}
