//! A program of which the memory is measured, and the instructions of its start and end are counted: what any program has.
//!
//! To stop itself it calls the C library, which is `unsafe`; a crate for it would be more than what any program has.

#![allow(unsafe_code)]

fn main() {
    if std::env::args().len() > 1 {
        // SAFETY: it takes no pointer.
        unsafe { libc::raise(libc::SIGSTOP) };
    }
}
