//! Starts of processes by bare calls, and how much memory a process has to itself.

use std::ffi::CStr;
use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::ptr;
use std::thread;

use crate::{Result, expect};

/// A child process that no library looks after.
#[must_use = "a child that nobody waits for stays as a zombie"]
pub struct Bare {
    pid: libc::pid_t,
}

impl Bare {
    /// Executes a program by `posix_spawn`, with one argument.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn execute(program: &CStr, argument: &CStr) -> Result<Self> {
        unsafe extern "C" {
            static environ: *const *mut libc::c_char;
        }
        let arguments = [
            program.as_ptr().cast_mut(),
            argument.as_ptr().cast_mut(),
            ptr::null_mut(),
        ];
        let mut pid = 0;
        // SAFETY: the strings and arrays outlive the call and are ended by NUL and null; nobody changes the environment
        // meanwhile.
        let error = unsafe {
            libc::posix_spawn(
                &mut pid,
                program.as_ptr(),
                ptr::null(),
                ptr::null(),
                arguments.as_ptr(),
                environ,
            )
        };
        match error {
            0 => Ok(Self { pid }),
            error => Err(io::Error::from_raw_os_error(error).into()),
        }
    }

    /// Forks this process; the copy does `work` and ends without any exit hook.
    ///
    /// In a process with several threads `work` is not to do more than system calls.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn fork(work: impl FnOnce()) -> Result<Self> {
        // SAFETY: the callers see to it that this process has one thread, or that the copy makes system calls only.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error().into()),
            0 => {
                work();
                // SAFETY: it takes no pointer, and ends the process.
                unsafe { libc::_exit(0) }
            }
            pid => Ok(Self { pid }),
        }
    }

    /// Returns its number.
    pub fn id(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    ///
    /// When it did not exit with 0.
    pub fn wait(self) -> Result {
        let mut status = 0;
        // SAFETY: the call writes the status, and nothing else waits for this child.
        let waited = unsafe { libc::waitpid(self.pid, &mut status, 0) };
        expect((waited, status), (self.pid, 0))
    }

    /// Ends it, whatever it does.
    ///
    /// # Errors
    ///
    /// When something else has waited for it.
    pub fn kill(self) -> Result {
        let mut status = 0;
        // SAFETY: the number is that of our child until it is waited for, which happens here.
        let waited = unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, &mut status, 0)
        };
        expect(waited, self.pid)
    }
}

/// The least that a fork server can be: it forks when it is asked, waits for the children, and answers.
pub struct ForkServer {
    socket: UnixStream,
    /// Taken at the end.
    process: Option<Bare>,
}

impl ForkServer {
    /// Forks the server: children are copies of what this process is now.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn start() -> Result<Self> {
        let (socket, requests) = UnixStream::pair()?;
        let process = Bare::fork(|| {
            // Or it would outlive this process, whose death it would not see.
            // SAFETY: the copied process does not use or close this copy otherwise: it ends without any destructor.
            unsafe { libc::close(socket.as_raw_fd()) };
            // The end of the requests is one of this error's kinds, and the others end the server, too.
            let _ = serve(&requests);
        })?;
        Ok(Self {
            socket,
            process: Some(process),
        })
    }

    /// Lets it start so many processes at once, and waits until they have ended.
    ///
    /// # Errors
    ///
    /// When the server is gone.
    pub fn start_and_wait(&self, count: u64) -> Result {
        let mut socket = &self.socket;
        let mut answer = [0; 8];
        socket.write_all(&count.to_le_bytes())?;
        socket.read_exact(&mut answer)?;
        expect(u64::from_le_bytes(answer), count)
    }
}

impl Drop for ForkServer {
    /// The server ends at the end of the requests.
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
        if let Some(process) = self.process.take() {
            let _ = process.wait();
        }
    }
}

fn serve(mut requests: &UnixStream) -> Result {
    let mut request = [0; 8];
    loop {
        requests.read_exact(&mut request)?;
        let count = u64::from_le_bytes(request);
        let children = (0..count).map(|_| Bare::fork(|| {}));
        let children = children.collect::<Result<Vec<_>>>()?;
        children.into_iter().try_for_each(Bare::wait)?;
        requests.write_all(&request)?;
    }
}

/// Stops this process, until it is killed or continued.
pub fn stop() {
    // SAFETY: it takes no pointer.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// Waits until a process has [stopped](stop) itself.
///
/// # Errors
///
/// When it has ended instead.
pub fn until_stopped(pid: u32) -> Result {
    loop {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name before it may have spaces, and brackets.
        let state = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.chars().next());
        match state {
            Some('T') => return Ok(()),
            Some('Z' | 'X') | None => {
                let message = format!("process {pid} ended before it stopped");
                return Err(mp::RemoteError::msg(message));
            }
            Some(_) => thread::yield_now(),
        }
    }
}

/// How many bytes of memory a process has to itself: what is there only because of it.
///
/// # Errors
///
/// When there is no such process, or no `/proc`.
pub fn private_memory(pid: u32) -> Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let kilobytes = rollup.lines().filter_map(|line| {
        let words = line
            .strip_prefix("Private_Clean:")
            .or_else(|| line.strip_prefix("Private_Dirty:"))?;
        words.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    });
    Ok(kilobytes.sum::<u64>() << 10)
}
