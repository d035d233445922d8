//! Linux: memfd, futex, robust pthread mutexes, `posix_spawn`, pidfds, sequenced-packet sockets.
//!
//! # Safety
//!
//! All `unsafe` of the system is here: calls of the C library that `rustix` lacks, and mappings. See [`crate::sys`].

#![allow(unsafe_code)]

mod fork;
mod futex;
mod launch;
mod memory;
mod named;
mod pipe;
mod poll;
mod process;
mod robust;
mod socket;
mod stdio;
mod thread;

pub(crate) use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub(crate) use fork::{
    Forked, drop_signal_handlers, exit_copy, fork, handled_signals, leave_interrupts_to_parent,
    prepare_for_copies, redirect, serve_children, thread_count, wall_off_exit,
};
#[cfg(test)]
pub(crate) use futex::pretend_no_waitv;
pub(crate) use futex::{MOST_WORDS, futex_wait, futex_wait_any, futex_wake, yield_now};
pub(crate) use launch::{Launch, launch};
pub(crate) use memory::{
    create_memory, map_memory, memory_size, next_data, read_sealed, release_pages, sealed_file,
    write_memory,
};
pub(crate) use named::{LONGEST_MEMORY_NAME, NamedMemory};
pub(crate) use pipe::{let_reads_fail, let_writes_fail, pipe, read_some, ring, unread};
pub(crate) use poll::{PollSet, poll_any};
pub(crate) use process::{
    Limits, SIGINT, SIGKILL, SIGTERM, abandon_child, allowed_cpus, ended_process, exit_status,
    is_no_process, is_of_the_dead, is_running, is_set_user_id, kill_by_id, kill_group,
    kill_group_of, kill_self, lead_group, limit_self, look_at_status, open_process, open_self,
    program_path, reap, resident_memory, run_on, signal_name, signal_process, status_from_words,
    status_of_reaped, status_of_zombie, status_parts, wait_ended,
};
pub(crate) use robust::{Acquired, MutexError, RobustMutex};
pub(crate) use socket::{
    MAX_FDS, Packet, copy_packet, discard_packet, grow_send_buffer, offer_packet, packet_pair,
    peek_from, poll_readable, receive_packet, send_buffer, send_packet,
};
pub(crate) use stdio::{Streams, open_streams, own_streams, replace_streams, stream_pipe};
pub(crate) use thread::{
    adopt_fd, at_exit, disregard_sigint, dup_above, enter_directory, fd_number, fd_of_file, now,
    open_files_limit, random, replace_stdout, set_thread_name, start_helper, thread_id,
    working_directory,
};

use std::time::{Duration, Instant};

use rustix::time::Timespec;

/// Whether this platform has [`fork`].
pub(crate) const CAN_FORK: bool = true;

/// How long anybody sleeps before looking again. Wake-ups get lost when somebody dies between a change and its wake-up, or
/// after being woken; this bounds what that costs, and costs an idle process next to nothing.
const SLICE: Duration = Duration::from_secs(1);

/// A duration as the kernel takes it.
fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

/// What is left until `deadline`, or `None` when it has passed.
fn remaining(deadline: Instant) -> Option<Duration> {
    deadline
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
}
