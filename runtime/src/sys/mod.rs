//! The operating system behind one page of names.
//!
//! Everything above this folder is written against the names below and nothing else of the system; `linux/` fulfils them,
//! and `unsupported.rs` compiles everywhere and answers each with [`Unsupported`](std::io::ErrorKind::Unsupported). A new
//! platform is a folder here and one arm below.
//!
//! | what | names | contract |
//! |---|---|---|
//! | shared memory | [`create_memory`], [`memory_size`], [`map_memory`], [`next_data`], [`write_memory`], [`release_pages`] | anonymous, zeroed, lives as long as a descriptor or mapping; its size cannot change |
//! | named memory | [`NamedMemory`], [`LONGEST_MEMORY_NAME`] | shared with programs that know its name; appears whole, with all its pages; only `unlink` removes the name |
//! | files in memory | [`sealed_file`], [`read_sealed`] | what is in them does not change |
//! | waiting on a word | [`futex_wait`], [`futex_wake`], [`yield_now`], [`futex_wait_any`] | works between processes that map the word anywhere |
//! | mutex | [`RobustMutex`] | shared by processes; the death of its owner is told to the next |
//! | starting | [`Launch`], [`launch`] | never copies the caller's memory; passes the named descriptors and no other |
//! | copies | [`CAN_FORK`], [`thread_count`], [`fork`], [`prepare_for_copies`], [`handled_signals`], [`drop_signal_handlers`], [`serve_children`], [`wall_off_exit`], [`exit_copy`], [`redirect`] | a copy can end without what its original registered for its own end |
//! | standard streams | [`Streams`], [`open_streams`], [`own_streams`], [`replace_streams`], [`stream_pipe`] | |
//! | processes | [`open_process`], [`wait_ended`], [`reap`], [`look_at_status`], [`status_of_reaped`], [`status_of_zombie`], [`ended_process`], [`is_no_process`], [`is_of_the_dead`], [`signal_process`], [`abandon_child`], [`is_running`], [`kill_by_id`], [`kill_group`], [`kill_group_of`], [`lead_group`] | by descriptor, so that a reused id is never hit |
//! | many descriptors | [`poll_any`], [`PollSet`] | tells which are readable or have lost their peer; a set is changed while a thread waits on it |
//! | sockets | [`packet_pair`], [`send_packet`], [`receive_packet`], [`poll_readable`], [`MAX_FDS`] | whole messages with descriptors attached; end of file when the peer is gone, killed too |
//! | pipes | [`pipe`], [`read_some`], [`ring`], [`let_writes_fail`], [`let_reads_fail`], [`unread`] | reading does not wait |
//! | this process | [`thread_id`], [`now`], [`is_set_user_id`], [`random`], [`program_path`], [`run_on`], [`allowed_cpus`], [`resident_memory`], [`disregard_sigint`], [`leave_interrupts_to_parent`], [`Limits`], [`limit_self`], [`working_directory`], [`enter_directory`], [`start_helper`], [`set_thread_name`], [`at_exit`], [`dup_above`], [`adopt_fd`], [`replace_stdout`], [`fd_of_file`], [`open_files_limit`] | |
//! | a socket that many use | [`offer_packet`], [`copy_packet`], [`discard_packet`], [`peek_from`], [`send_buffer`], [`grow_send_buffer`] | nothing waits; what is in the buffer is there whoever dies |
//!
//! # Safety
//!
//! The functions here are the only callers of the C library and of raw system calls. Each block answers for its call.

#[cfg(all(target_os = "linux", not(mp_unsupported)))]
mod linux;
#[cfg(all(target_os = "linux", not(mp_unsupported)))]
use linux as imp;

#[cfg(not(all(target_os = "linux", not(mp_unsupported))))]
mod unsupported;
#[cfg(not(all(target_os = "linux", not(mp_unsupported))))]
use unsupported as imp;

#[cfg(test)]
pub(crate) use imp::pretend_no_waitv;
pub(crate) use imp::{
    Acquired, AsFd, BorrowedFd, CAN_FORK, Forked, LONGEST_MEMORY_NAME, Launch, Limits, MAX_FDS,
    MOST_WORDS, MutexError, NamedMemory, OwnedFd, Packet, PollSet, RobustMutex, SIGINT, SIGKILL,
    SIGTERM, Streams, abandon_child, adopt_fd, allowed_cpus, at_exit, copy_packet, create_memory,
    discard_packet, disregard_sigint, drop_signal_handlers, dup_above, ended_process,
    enter_directory, exit_copy, exit_status, fd_number, fd_of_file, fork, futex_wait,
    futex_wait_any, futex_wake, grow_send_buffer, handled_signals, is_no_process, is_of_the_dead,
    is_running, is_set_user_id, kill_by_id, kill_group, kill_group_of, kill_self, launch,
    lead_group, leave_interrupts_to_parent, let_reads_fail, let_writes_fail, limit_self,
    look_at_status, map_memory, memory_size, next_data, now, offer_packet, open_files_limit,
    open_process, open_self, open_streams, own_streams, packet_pair, peek_from, pipe, poll_any,
    poll_readable, prepare_for_copies, program_path, random, read_sealed, read_some, reap,
    receive_packet, redirect, release_pages, replace_stdout, replace_streams, resident_memory,
    ring, run_on, sealed_file, send_buffer, send_packet, serve_children, set_thread_name,
    signal_name, signal_process, start_helper, status_from_words, status_of_reaped,
    status_of_zombie, status_parts, stream_pipe, thread_count, thread_id, unread, wait_ended,
    wall_off_exit, working_directory, write_memory, yield_now,
};
