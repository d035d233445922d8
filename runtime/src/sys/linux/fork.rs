//! Copies of this process, and what they do not share with it.

use std::fs;
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};

use rustix::io::DupFlags;

/// Who returns from [`fork`].
#[derive(Debug)]
pub(crate) enum Forked {
    /// The process that was copied, with the id of its copy.
    Parent(u32),
    /// The copy.
    Child,
}

/// `fork()`—Copies this process. What is buffered for its standard output and C streams is written before, because both
/// would write it.
///
/// # Safety
///
/// The process has one thread: what others were doing would be left half done in the copy.
///
/// # References
///  - [POSIX](https://pubs.opengroup.org/onlinepubs/9799919799/functions/fork.html)
///  - [Linux](https://man7.org/linux/man-pages/man2/fork.2.html)
pub(crate) unsafe fn fork() -> io::Result<Forked> {
    let _ = io::stdout().flush();
    // SAFETY: null stands for all streams; the caller answers for the fork.
    let pid = unsafe {
        libc::fflush(ptr::null_mut());
        libc::fork()
    };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent(pid.unsigned_abs())),
    }
}

/// `/proc/self/task`—How many threads this process has. Where there is no `/proc`, 2 stands for more than one.
///
/// Those do not count that have ended but for the kernel's part of it, which goes on for a moment after they were joined; nor,
/// if `main_waits` says that it does nothing but wait for this one, the first thread when it sleeps.
pub(crate) fn thread_count(main_waits: bool) -> usize {
    const LINKS_OF_NONE: u64 = 2;
    const MOST_LOOKS: usize = 1000;
    let tasks = "/proc/self/task";
    // The kernel refuses this, which would change nothing, to a process with more than one thread.
    // SAFETY: plain system call.
    if unsafe { libc::unshare(libc::CLONE_THREAD) } == 0 {
        return 1;
    }
    // Others may refuse it, too: a container's filter of system calls.
    match fs::metadata(tasks) {
        Ok(metadata) if metadata.nlink() == LINKS_OF_NONE + 1 => return 1,
        Ok(_) => {}
        Err(_) => return 2,
    }
    let first = std::process::id();
    let main_waits = main_waits && super::thread_id() != first;
    let mut looks = 0;
    loop {
        let threads = fs::read_dir(tasks).into_iter().flatten().flatten();
        let threads: Vec<Thread> = threads
            .filter_map(|thread| Thread::read(&thread.path()))
            .filter(|thread| !thread.is_exiting)
            .collect();
        let main = threads.iter().find(|thread| thread.id == first);
        match main {
            Some(main) if main_waits && main.sleeps => return threads.len() - 1,
            // It is about to.
            Some(_) if main_waits && looks < MOST_LOOKS => looks += 1,
            _ => return threads.len(),
        }
        super::yield_now();
    }
}

/// What `/proc` tells of a thread.
struct Thread {
    id: u32,
    sleeps: bool,
    /// Whether it does not run any of this program's instructions any more.
    is_exiting: bool,
}

impl Thread {
    fn read(folder: &Path) -> Option<Self> {
        const PF_EXITING: u64 = 4;
        const FLAGS_AFTER_STATE: usize = 5;
        let stat = fs::read_to_string(folder.join("stat")).ok()?;
        // The name is in parentheses, and may contain any.
        let mut fields = stat.rsplit(')').next()?.split_whitespace();
        let state = fields.next()?;
        let flags: u64 = fields.nth(FLAGS_AFTER_STATE)?.parse().ok()?;
        Some(Self {
            id: folder.file_name()?.to_str()?.parse().ok()?,
            sleeps: state == "S",
            is_exiting: flags & PF_EXITING != 0,
        })
    }
}

/// `sigaction()`—The signals that this process has handlers for. Those of the standard library do not count, which tell an
/// overflow of the stack.
pub(crate) fn handled_signals() -> Vec<i32> {
    const OTHERS: [i32; 4] = [libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV, libc::SIGBUS];
    let is_handled = |signal: &i32| {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: the structure is written by the call, and its zeroes are valid.
        let action = unsafe {
            libc::sigaction(*signal, ptr::null(), action.as_mut_ptr());
            action.assume_init()
        };
        ![libc::SIG_DFL, libc::SIG_IGN].contains(&action.sa_sigaction)
    };
    (1..=libc::SIGRTMAX())
        .filter(|signal| !OTHERS.contains(signal))
        .filter(is_handled)
        .collect()
}

/// `signal(SIG_DFL)`—Gives signals their default actions.
pub(crate) fn drop_signal_handlers(signals: &[i32]) {
    for signal in signals {
        // SAFETY: a default action is no function of this program.
        unsafe { libc::signal(*signal, libc::SIG_DFL) };
    }
}

/// Does what the first copy of this process would do for the first time, and each later one again: a function of the C library
/// is found by its name, which writes to pages that a copy would have to copy.
pub(crate) fn prepare_for_copies() {
    super::now();
    #[cfg(target_env = "gnu")]
    glibc::register_nothing();
}

/// `sigaction(SIGTERM, SIGCHLD)`—Lets a SIGTERM, which may be meant for all of a group, do nothing to this process, whose copies
/// do not inherit that; and lets its children wait for their burial.
pub(crate) fn serve_children() {
    extern "C" fn nothing(_signal: libc::c_int) {}

    let nothing: extern "C" fn(libc::c_int) = nothing;
    // SAFETY: the handler does nothing.
    unsafe {
        libc::signal(libc::SIGTERM, nothing as usize);
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
    }
}

/// `sigaction(SIGINT)`, `prctl(PR_SET_PDEATHSIG)`—Lets a SIGINT of the terminal do nothing to this process but let it end when
/// its parent does, which decides. A SIGINT of another process has its default action. Where SIGINT is ignored it stays so.
///
/// The kernel takes the end of the thread that started this process for that of the parent.
pub(crate) fn leave_interrupts_to_parent() {
    static PARENT: AtomicI32 = AtomicI32::new(0);

    extern "C" fn decide(signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
        // SAFETY: the kernel gives a valid structure; all calls are allowed in handlers, and none of those that may succeed
        // changes `errno`.
        unsafe {
            if (*info).si_code == libc::SI_KERNEL {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGINT);
                if libc::getppid() == PARENT.load(Ordering::Relaxed) {
                    return;
                }
            }
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
    }

    // SAFETY: plain system call.
    PARENT.store(unsafe { libc::getppid() }, Ordering::Relaxed);
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: both structures are zeroes with the fields set that count.
    unsafe {
        let known = libc::sigaction(libc::SIGINT, ptr::null(), before.as_mut_ptr()) == 0;
        if known && before.assume_init_ref().sa_sigaction != libc::SIG_IGN {
            let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
            let decide: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) = decide;
            action.sa_sigaction = decide as usize;
            action.sa_flags = libc::SA_RESTART | libc::SA_SIGINFO;
            libc::sigaction(libc::SIGINT, &action, ptr::null_mut());
        }
    }
}

/// `dup3(fd, number, O_CLOEXEC)`—Makes a descriptor of this process lead to where `fd` does.
///
/// # Safety
///
/// Whoever owns the descriptor with this number can do with the other one.
pub(crate) unsafe fn redirect(number: i32, fd: BorrowedFd<'_>) -> io::Result<()> {
    use std::os::fd::{FromRawFd, IntoRawFd};

    // SAFETY: it is not closed here, but given back to its owner.
    let mut target = unsafe { OwnedFd::from_raw_fd(number) };
    let result = rustix::io::dup3(fd, &mut target, DupFlags::CLOEXEC);
    let _ = target.into_raw_fd();
    Ok(result?)
}

/// What [`wall_off_exit`] was given; null before.
static LAST: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());
/// The exit code that [`exit_copy`] was given, and below 0 before.
static CODE: AtomicI32 = AtomicI32::new(-1);

/// `atexit()`—Lets the exit of this process, a copy, call what it registered itself from now on, and then `last`; not what the
/// process registered that it is a copy of, and no destructors of that one's thread-local values.
///
/// Where the C library is not glibc, those are called, too: it does not tell its last function the exit code.
pub(crate) fn wall_off_exit(last: fn()) {
    LAST.store(last as *mut (), Ordering::Relaxed);
    CODE.store(-1, Ordering::Relaxed);
    #[cfg(target_env = "gnu")]
    glibc::build_wall();
}

/// `exit(code)`—Ends this process, a copy.
pub(crate) fn exit_copy(code: i32) -> ! {
    CODE.store(code, Ordering::Relaxed);
    std::process::exit(code)
}

/// The order of events in `exit` of glibc: destructors of thread-local values, the last registered first; then functions of
/// `atexit` and `on_exit`, the last registered first; then its streams are flushed.
///
/// The wall is one of each kind. The destructor is reached first. It knows the exit code where this library ends the
/// process, and then calls the functions of `atexit` itself, so that the destructors behind it are not called. Where the
/// program has called `exit`, they are: only a function of `on_exit` is told the code.
#[cfg(target_env = "gnu")]
mod glibc {
    use super::*;
    use std::ffi::{c_int, c_void};

    unsafe extern "C" {
        fn __cxa_finalize(dso: *mut c_void);
        fn __cxa_thread_atexit_impl(
            destructor: unsafe extern "C" fn(*mut c_void),
            object: *mut c_void,
            dso: *mut c_void,
        ) -> c_int;
        fn on_exit(
            function: unsafe extern "C" fn(c_int, *mut c_void),
            argument: *mut c_void,
        ) -> c_int;
    }

    pub(super) fn build_wall() {
        let here = (&raw const CODE).cast_mut().cast();
        // SAFETY: the functions are part of the program, which is not unloaded, and `here` is a place in it. If one is not
        // registered, for want of memory, functions of the other process are called.
        unsafe {
            libc::atexit(end_with_known_code);
            on_exit(end_with_code, ptr::null_mut());
            __cxa_thread_atexit_impl(after_thread_locals, ptr::null_mut(), here);
        }
    }

    /// Finds the names that the wall needs.
    pub(super) fn register_nothing() {
        unsafe extern "C" fn nothing(_object: *mut c_void) {}

        let here = (&raw const CODE).cast_mut().cast();
        // SAFETY: the function is part of the program, which is not unloaded, and `here` is a place in it.
        unsafe { __cxa_thread_atexit_impl(nothing, ptr::null_mut(), here) };
    }

    unsafe extern "C" fn after_thread_locals(_object: *mut c_void) {
        if CODE.load(Ordering::Relaxed) >= 0 {
            // SAFETY: null stands for all functions of `atexit`, of which `end_with_known_code` does not return.
            unsafe { __cxa_finalize(ptr::null_mut()) };
        }
    }

    extern "C" fn end_with_known_code() {
        end(CODE.load(Ordering::Relaxed));
    }

    unsafe extern "C" fn end_with_code(code: c_int, _argument: *mut c_void) {
        end(code);
    }

    fn end(code: i32) {
        let last = LAST.load(Ordering::Relaxed);
        // SAFETY: the pointer is of such a function: `wall_off_exit` stored it before this was registered.
        let last: fn() = unsafe { std::mem::transmute(last) };
        last();
        // SAFETY: null stands for all streams; what `exit` would do besides is for the other process to do.
        unsafe {
            libc::fflush(ptr::null_mut());
            libc::_exit(code);
        }
    }
}
