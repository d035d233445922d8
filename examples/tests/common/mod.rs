//! Runs an example from outside, and watches it.

#![allow(dead_code, reason = "each test file uses a part of this")]

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// After how long a test stops to wait. Nothing here takes seconds, but the machine may be busy with other things.
const WATCHDOG: Duration = Duration::from_secs(60);

/// What a program has left behind.
pub struct Run {
    /// What was in its standard output at the moment in which it ended.
    pub stdout: String,
    /// What it and its children have written to standard error until the last of them ended.
    pub stderr: String,
    pub status: ExitStatus,
}

impl Run {
    /// Checks that the program ended well and was silent on standard error, and gives its output.
    #[track_caller]
    pub fn success(self) -> String {
        let Run {
            stdout,
            stderr,
            status,
        } = self;
        assert!(
            status.success() && stderr.is_empty(),
            "{status}\n--- stdout\n{stdout}--- stderr\n{stderr}"
        );
        stdout
    }
}

/// A program that runs. Dropping it kills the program and everything that it has started.
pub struct Running {
    program: Child,
    stdout: File,
    stderr: Receiver<String>,
}

impl Running {
    /// Starts a program in a process group of its own.
    ///
    /// Its standard output is a file, which can be read in the moment in which the program ends: children that the
    /// program should have waited for would be missed. Its standard error is a pipe, which ends when the last child
    /// has ended.
    pub fn start(command: &mut Command) -> Running {
        let (reader, writer) = io::pipe().expect("making a pipe");
        Self::start_with(command, writer.into(), OwnedFd::from(reader).into())
    }

    /// The same with a terminal of 80 columns as its standard error.
    pub fn start_on_terminal(command: &mut Command) -> Running {
        let (terminal, screen) = terminal().expect("making a terminal");
        Self::start_with(command.env("TERM", "xterm"), terminal, screen)
    }

    /// What the program writes to `stderr` comes out of `reader`.
    fn start_with(command: &mut Command, stderr: OwnedFd, mut reader: File) -> Running {
        let folder = Folder::new("stdout");
        let path = folder.path().join("stdout");
        let output = File::create_new(&path).expect("creating the file for standard output");
        let stdout = File::open(&path).expect("opening the file for standard output");
        let program = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(stderr)
            .spawn()
            .expect("starting the program");
        // The command has the writing end, which would keep the reader from coming to an end.
        command.stderr(Stdio::null());
        let (sender, stderr) = mpsc::channel();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let end = reader.read_to_end(&mut bytes);
            let mut text = String::from_utf8_lossy(&bytes).into_owned();
            match end {
                // The end of a terminal that nobody has open any more.
                Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {}
                Err(error) => text += &format!("[reading standard error failed: {error}]"),
                Ok(_) => {}
            }
            // Nobody listens when the test has failed before it came to this.
            let _ = sender.send(text);
        });
        Running {
            program,
            stdout,
            stderr,
        }
    }

    /// The program's process id.
    pub fn id(&self) -> u32 {
        self.program.id()
    }

    /// Waits until the program has ended, and then until all that it has started have ended.
    #[track_caller]
    pub fn finish(mut self) -> Run {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.program.try_wait().expect("waiting for the program") {
                break status;
            }
            if start.elapsed() > WATCHDOG {
                let (stdout, stderr) = (self.stdout(), self.stderr_after_kill());
                panic!(
                    "the program still runs after {WATCHDOG:?}\n--- stdout\n{stdout}--- stderr\n{stderr}"
                );
            }
            thread::sleep(Duration::from_millis(1));
        };
        let stdout = self.stdout();
        let Ok(stderr) = self.stderr.recv_timeout(WATCHDOG) else {
            let stderr = self.stderr_after_kill();
            panic!(
                "the program has ended, but not its children\n--- stdout\n{stdout}--- stderr\n{stderr}"
            );
        };
        Run {
            stdout,
            stderr,
            status,
        }
    }

    fn stdout(&mut self) -> String {
        let mut text = String::new();
        self.stdout.rewind().expect("rewinding standard output");
        self.stdout
            .read_to_string(&mut text)
            .expect("reading standard output");
        text
    }

    fn stderr_after_kill(&self) -> String {
        self.kill();
        self.stderr
            .recv_timeout(WATCHDOG)
            .unwrap_or_else(|_| "[no end of it]".to_owned())
    }

    fn kill(&self) {
        // The group is empty if all went well.
        let _ = kill_process_group(Pid::from_child(&self.program), Signal::KILL);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // While the program is not waited for, its id, which is the group's, cannot belong to anybody else.
        if let Ok(None) = self.program.try_wait() {
            self.kill();
            let _ = self.program.wait();
        }
    }
}

/// A terminal, and what shows its screen.
fn terminal() -> io::Result<(OwnedFd, File)> {
    let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&screen)?;
    unlockpt(&screen)?;
    let path = ptsname(&screen, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let terminal = rustix::fs::open(path, flags, Mode::empty())?;
    let size = Winsize {
        ws_row: 24,
        ws_col: 80,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&terminal, size)?;
    Ok((terminal, screen.into()))
}

/// Runs a program to its end.
#[track_caller]
pub fn run(command: &mut Command) -> Run {
    Running::start(command).finish()
}

/// Calls `attempt` until it gives something.
#[track_caller]
pub fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(
            start.elapsed() < WATCHDOG,
            "{what}: not within {WATCHDOG:?}"
        );
        thread::sleep(Duration::from_millis(1));
    }
}

/// A folder for temporary files, empty at first, removed when dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{name}-{}-{count}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        // Left by a test that was killed and had the same process id.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("creating a folder");
        Folder(path.canonicalize().expect("the folder's path"))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file, and the folders that it is in.
    pub fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("a file is in a folder"))
            .expect("creating a folder");
        fs::write(path, content).expect("writing a file");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
