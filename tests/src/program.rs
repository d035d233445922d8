//! Programs that are run from outside, and watched.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::{env, fs, process};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::processes::{Entry, Watched, eventually, group, marked};

/// In the environment of a program, and so of all that it starts: the workers of pools are in groups of their own.
const MARK: &str = "MULTIPROC_TESTS_PROGRAM";

/// What a program has left behind.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    /// Processes that were still running in the moment in which the program ended.
    pub outlived_by: Vec<String>,
    /// Those of them that never ended.
    pub left: Vec<String>,
}

impl Ended {
    /// Checks that no process outlived the program.
    #[track_caller]
    pub fn nothing_left(self) -> Self {
        assert!(
            self.outlived_by.is_empty(),
            "it left processes behind: {self:#?}"
        );
        self
    }

    /// Checks that no process was left in the end. Orphans may have outlived the program by a moment: those whose parents
    /// were killed while they were being started.
    #[track_caller]
    pub fn nothing_stays(self) -> Self {
        assert!(
            self.left.is_empty(),
            "it left processes that do not end: {self:#?}"
        );
        self
    }

    /// Checks that the program ended well, and gives its standard output.
    #[track_caller]
    pub fn success(self) -> String {
        let Self {
            status,
            stdout,
            stderr,
            ..
        } = self;
        assert!(
            status.success(),
            "{status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
        );
        stdout
    }

    /// Checks that the program ended with this exit code.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self:#?}");
        self
    }
}

/// Runs a program until it and all that it has started have ended.
#[track_caller]
pub fn run(command: &mut Command) -> Ended {
    Running::start(command).end()
}

/// A program that runs, in a process group of its own.
pub struct Running {
    pub child: Child,
    mark: String,
    stdout: Reader,
    stderr: Reader,
}

impl Running {
    /// Starts a program, with nothing to read.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        Self::start_reading(command.process_group(0), Stdio::null())
    }

    /// Starts a program in this process's group.
    #[track_caller]
    pub fn start_reading(command: &mut Command, stdin: impl Into<Stdio>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mark = format!("{}-{number}", process::id());
        command
            .env(MARK, &mark)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = Reader::new(child.stdout.take().expect("it is piped"));
        let stderr = Reader::new(child.stderr.take().expect("it is piped"));
        Self {
            child,
            mark,
            stdout,
            stderr,
        }
    }

    /// Waits until the program has printed this to its standard output.
    #[track_caller]
    pub fn said(&self, text: &str) {
        let found = eventually(|| self.stdout.text().contains(text).then_some(()));
        let (stdout, stderr) = (self.stdout.text(), self.stderr.text());
        assert!(
            found.is_some(),
            "no `{text}`\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
        );
    }

    /// The processes of the program and of what it has started.
    pub fn processes(&self) -> Vec<Entry> {
        let mut all = marked(MARK, &self.mark);
        let others = group(self.child.id()).into_iter();
        all.extend(
            others
                .filter(|entry| all.iter().all(|known| known.pid != entry.pid))
                .collect::<Vec<_>>(),
        );
        all
    }

    /// Waits until the program and all that it has started have ended; kills what does not.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        let id = self.child.id();
        let watched = Watched::new(id);
        let hangs = eventually(|| watched.has_ended().then_some(())).is_none();
        let names = |entries: Vec<Entry>| -> Vec<String> {
            let name = |entry: Entry| format!("{} ({})", entry.name, entry.pid);
            entries.into_iter().map(name).collect()
        };
        let outlived_by = if hangs {
            Vec::new()
        } else {
            names(self.processes())
        };
        if !hangs && !outlived_by.is_empty() {
            let _ = eventually(|| self.processes().is_empty().then_some(()));
        }
        let left = self.processes();
        for entry in &left {
            let _ = Pid::from_raw(entry.pid.cast_signed()).map(|id| kill_process(id, Signal::KILL));
        }
        let left = names(left);
        let killed = Pid::from_raw(id.cast_signed()).map(|id| kill_process_group(id, Signal::KILL));
        let status = self.child.wait().expect("waiting for a child");
        let (stdout, stderr) = (self.stdout.end(), self.stderr.end());
        assert!(
            !hangs,
            "the program hangs ({killed:?}): {left:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
        );
        Ended {
            status,
            stdout,
            stderr,
            outlived_by,
            left,
        }
    }
}

/// What a program prints, as it comes.
struct Reader {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: JoinHandle<()>,
}

impl Reader {
    fn new(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let read = Arc::clone(&bytes);
        let thread = thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                match pipe
                    .read(&mut buffer)
                    .expect("reading what a program prints")
                {
                    0 => return,
                    length => read
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .extend(&buffer[..length]),
                }
            }
        });
        Self { bytes, thread }
    }

    fn text(&self) -> String {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn end(self) -> String {
        let Self { bytes, thread } = self;
        thread.join().expect("reading");
        let bytes = bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// A folder of its own, which is removed in the end.
pub struct Folder(PathBuf);

impl Folder {
    #[expect(clippy::new_without_default, reason = "it makes a folder")]
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("multiproc-tests-{}-{number}", process::id()));
        fs::create_dir(&path).expect("making a folder");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes a shell script that can be executed.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.0.join(name);
        // Written by another process: while this one has the file open for writing, children that other threads start at
        // the same time have it open, too, and the system does not execute such a file.
        let written = Command::new("sh")
            .args(["-c", "printf '%s' \"$1\" > \"$0\""])
            .arg(&path)
            .arg(text)
            .status();
        assert!(
            written.is_ok_and(|status| status.success()),
            "writing {}",
            path.display()
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
            .expect("making a script executable");
        path
    }

    /// Copies a program into the folder.
    pub fn copy(&self, program: &str, name: &str) -> PathBuf {
        let path = self.0.join(name);
        // By another process, for the same reason.
        let copied = Command::new("cp").arg(program).arg(&path).status();
        assert!(
            copied.is_ok_and(|status| status.success()),
            "copying {program}"
        );
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
