//! Starting a program: `posix_spawn`, which never copies the caller's memory.
//!
//! glibc and musl run it as `clone(CLONE_VM | CLONE_VFORK)`: the cost does not grow with the parent. Descriptors stay
//! close-on-exec here and lose the flag by `dup2` in the child alone, so that programs which other threads start at the
//! same time cannot inherit them. The child gets its standard streams and the named descriptors, and no other.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr;

/// The number of the first descriptor after the standard streams.
const FIRST_FD: RawFd = 3;
const STDOUT: RawFd = 1;

/// A program to be started.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    /// The programs to try, in this order; the next one is tried where one cannot be executed.
    pub(crate) programs: Vec<PathBuf>,
    pub(crate) arguments: Vec<OsString>,
    /// All of the environment.
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) directory: Option<PathBuf>,
    /// Descriptors for the child.
    pub(crate) fds: &'a [BorrowedFd<'a>],
    /// The child's standard streams; those that are missing are those of this process.
    pub(crate) streams: [Option<BorrowedFd<'a>>; 3],
    /// Whether the standard output becomes the last of `fds`, in place of what that is here, and `/dev/null` takes its place.
    pub(crate) quiet_stdout: bool,
    /// Whether the child leads a process group of its own.
    pub(crate) lead_group: bool,
}

impl Launch<'_> {
    /// The numbers that as many descriptors will have in the child.
    pub(crate) fn numbers(count: usize) -> Vec<RawFd> {
        (FIRST_FD..).take(count).collect()
    }
}

/// `posix_spawn(program, …)`—Starts a program, and returns its id.
///
/// # References
///  - [POSIX](https://pubs.opengroup.org/onlinepubs/9799919799/functions/posix_spawn.html)
///  - [Linux](https://man7.org/linux/man-pages/man3/posix_spawn.3.html)
pub(crate) fn launch(launch: Launch<'_>) -> io::Result<u32> {
    let mut actions = Actions::new()?;
    let mut held = Vec::new();
    for (target, stream) in (0..).zip(launch.streams) {
        if let Some(fd) = stream {
            let source = above(fd, FIRST_FD, &mut held)?;
            actions.dup(source, target)?;
        }
    }
    let end = FIRST_FD + launch.fds.len() as RawFd;
    // A source in the range of the targets would be overwritten before its turn, unless it is there already.
    let mut sources = Vec::with_capacity(launch.fds.len());
    for (target, fd) in (FIRST_FD..).zip(launch.fds) {
        let in_place = fd.as_raw_fd() == target;
        sources.push(if in_place {
            target
        } else {
            above(*fd, end, &mut held)?
        });
    }
    for (target, source) in (FIRST_FD..).zip(sources) {
        actions.dup(source, target)?;
    }
    if launch.quiet_stdout {
        actions.dup(STDOUT, end - 1)?;
        actions.open_null(STDOUT)?;
    }
    actions.close_from(end)?;
    if let Some(directory) = &launch.directory {
        actions.change_directory(&c_string(&[directory.as_os_str()])?)?;
    }
    let attributes = Attributes::new(launch.lead_group)?;
    let arguments: Vec<CString> = launch
        .arguments
        .iter()
        .map(|argument| c_string(&[argument]))
        .collect::<io::Result<_>>()?;
    let environment: Vec<CString> = launch
        .environment
        .iter()
        .map(|(name, value)| c_string(&[name, OsStr::new("="), value]))
        .collect::<io::Result<_>>()?;
    let (arguments, environment) = (pointers(&arguments), pointers(&environment));
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for program in &launch.programs {
        let program = c_string(&[program.as_os_str()])?;
        let mut pid = 0;
        // SAFETY: all strings and arrays outlive the call and are ended by NUL and null; actions and attributes are
        // initialised.
        let result = unsafe {
            libc::posix_spawn(
                &mut pid,
                program.as_ptr(),
                &actions.0,
                &attributes.0,
                arguments.as_ptr(),
                environment.as_ptr(),
            )
        };
        match result {
            0 => return Ok(pid.unsigned_abs()),
            error => last = io::Error::from_raw_os_error(error),
        }
        if !matches!(
            last.raw_os_error(),
            Some(libc::ENOENT | libc::EACCES | libc::ENOTDIR)
        ) {
            break;
        }
    }
    Err(last)
}

/// The number of `fd`, or of a duplicate kept in `held`, that is at least `lowest`.
fn above(fd: BorrowedFd<'_>, lowest: RawFd, held: &mut Vec<OwnedFd>) -> io::Result<RawFd> {
    if fd.as_raw_fd() >= lowest {
        return Ok(fd.as_raw_fd());
    }
    let duplicate = super::dup_above(fd, lowest)?;
    let number = duplicate.as_raw_fd();
    held.push(duplicate);
    Ok(number)
}

/// The parts, joined, as C wants them.
fn c_string(parts: &[&OsStr]) -> io::Result<CString> {
    let bytes: Vec<u8> = parts
        .iter()
        .flat_map(|part| part.as_bytes())
        .copied()
        .collect();
    CString::new(bytes).map_err(|error| {
        let text = String::from_utf8_lossy(&error.into_vec()).into_owned();
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{text:?} has a zero byte, which ends texts for the system"),
        )
    })
}

/// The array of pointers, ended by null, that C wants.
fn pointers(strings: &[CString]) -> Vec<*mut libc::c_char> {
    strings
        .iter()
        .map(|string| string.as_ptr().cast_mut())
        .chain([ptr::null_mut()])
        .collect()
}

/// What the child does before it executes the program.
struct Actions(libc::posix_spawn_file_actions_t);

impl Actions {
    fn new() -> io::Result<Self> {
        let mut actions = MaybeUninit::uninit();
        // SAFETY: the call initialises what it is given, or fails.
        check(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
        // SAFETY: initialised above.
        Ok(Self(unsafe { actions.assume_init() }))
    }

    /// With equal numbers it clears the close-on-exec flag, in the child alone.
    fn dup(&mut self, source: RawFd, target: RawFd) -> io::Result<()> {
        // SAFETY: the actions are initialised.
        check(unsafe { libc::posix_spawn_file_actions_adddup2(&mut self.0, source, target) })
    }

    fn open_null(&mut self, target: RawFd) -> io::Result<()> {
        // SAFETY: the actions are initialised; the call copies the string.
        check(unsafe {
            libc::posix_spawn_file_actions_addopen(
                &mut self.0,
                target,
                c"/dev/null".as_ptr(),
                libc::O_WRONLY,
                0,
            )
        })
    }

    /// Where the C library has no such action (musl, glibc before 2.34), descriptors that are not close-on-exec pass.
    #[cfg(target_env = "gnu")]
    fn close_from(&mut self, lowest: RawFd) -> io::Result<()> {
        // SAFETY: the actions are initialised.
        check(unsafe { libc::posix_spawn_file_actions_addclosefrom_np(&mut self.0, lowest) })
    }

    #[cfg(not(target_env = "gnu"))]
    fn close_from(&mut self, _lowest: RawFd) -> io::Result<()> {
        Ok(())
    }

    fn change_directory(&mut self, directory: &CStr) -> io::Result<()> {
        // SAFETY: the actions are initialised; the call copies the string.
        check(unsafe {
            libc::posix_spawn_file_actions_addchdir_np(&mut self.0, directory.as_ptr())
        })
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: initialised, and not used afterwards.
        unsafe { libc::posix_spawn_file_actions_destroy(&mut self.0) };
    }
}

/// How the child starts: with no signal blocked, whichever thread starts it.
struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    fn new(lead_group: bool) -> io::Result<Self> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: the call initialises what it is given, or fails.
        check(unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) })?;
        // SAFETY: initialised above.
        let mut this = Self(unsafe { attributes.assume_init() });
        // SAFETY: the set is initialised by the first call; the attributes above.
        unsafe {
            let mut none = MaybeUninit::uninit();
            libc::sigemptyset(none.as_mut_ptr());
            check(libc::posix_spawnattr_setsigmask(&mut this.0, none.as_ptr()))?;
            // The group is 0, which stands for the child's own number, unless it is set.
            let mut flags = libc::POSIX_SPAWN_SETSIGMASK;
            if lead_group {
                flags |= libc::POSIX_SPAWN_SETPGROUP;
            }
            check(libc::posix_spawnattr_setflags(
                &mut this.0,
                flags as libc::c_short,
            ))?;
        }
        Ok(this)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialised, and not used afterwards.
        unsafe { libc::posix_spawnattr_destroy(&mut self.0) };
    }
}

fn check(error: libc::c_int) -> io::Result<()> {
    match error {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}
