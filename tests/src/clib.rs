//! What tests need of the C library, and what is `unsafe` since threads are.
//!
//! # Safety
//!
//! The environment is changed only where a process has one thread. Exit hooks are functions that may run at any time.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;

use crate::methods::threads;

/// Sets a variable of this process, which has one thread; removes it if there is no value.
#[track_caller]
pub fn set_variable(name: &str, value: Option<&str>) {
    assert_eq!(threads(), 1, "others may look at the environment");
    // SAFETY: this process has one thread.
    unsafe {
        match value {
            Some(value) => std::env::set_var(name, value),
            None => std::env::remove_var(name),
        }
    }
}

/// Lets the C library call a function when this process exits.
pub fn at_exit(hook: extern "C" fn()) {
    // SAFETY: the function lives as long as the program.
    let refused = unsafe { libc::atexit(hook) };
    assert_eq!(refused, 0, "there is room for a hook");
}

/// Writes to the C library's standard output, without a flush.
pub fn c_print(text: &str) {
    let text = CString::new(text).expect("no zero in it");
    // SAFETY: format and text end with a zero.
    unsafe {
        libc::printf(c"%s".as_ptr(), text.as_ptr());
    }
}

/// Copies this process behind the library's back; gives the pid of the copy, and `None` in the copy.
///
/// The copy has to end by [`exit_at_once`].
#[track_caller]
pub fn fork() -> Option<u32> {
    assert_eq!(threads(), 1, "others may hold locks");
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        0 => None,
        pid => Some(u32::try_from(pid).expect("copying a process")),
    }
}

/// Ends this process without anything else.
pub fn exit_at_once(code: i32) -> ! {
    // SAFETY: it ends the process.
    unsafe { libc::_exit(code) }
}

/// What a signal does to this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    Default,
    Ignored,
    Handled,
}

/// Lets this process ignore a signal, or do nothing when it comes.
pub fn set_disposition(signal: i32, disposition: Disposition) {
    extern "C" fn nothing(_: libc::c_int) {}
    let handler = match disposition {
        Disposition::Default => libc::SIG_DFL,
        Disposition::Ignored => libc::SIG_IGN,
        Disposition::Handled => nothing as extern "C" fn(libc::c_int) as libc::sighandler_t,
    };
    // SAFETY: the handler does nothing.
    let before = unsafe { libc::signal(signal, handler) };
    assert_ne!(before, libc::SIG_ERR, "{}", io::Error::last_os_error());
}

/// Tells what a signal does to this process.
pub fn disposition(signal: i32) -> Disposition {
    // SAFETY: all zero is an action, and the call writes to it.
    let action = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        assert_eq!(libc::sigaction(signal, std::ptr::null(), &mut action), 0);
        action
    };
    match action.sa_sigaction {
        libc::SIG_DFL => Disposition::Default,
        libc::SIG_IGN => Disposition::Ignored,
        _ => Disposition::Handled,
    }
}

/// Closes the standard input, which nothing here uses any more.
pub fn close_stdin() {
    // SAFETY: the standard library does not mind, and nobody else owns the descriptor.
    unsafe {
        libc::close(0);
    }
}
