//! Programs that are run from outside, and watched.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::{env, fs, process};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::processes::{Watched, eventually, group};

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
    stdout: JoinHandle<String>,
    stderr: JoinHandle<String>,
}

impl Running {
    /// Starts a program, with nothing to read.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = read(child.stdout.take().expect("it is piped"));
        let stderr = read(child.stderr.take().expect("it is piped"));
        Self {
            child,
            stdout,
            stderr,
        }
    }

    /// Waits until the program and all that it has started have ended; kills what does not.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        let id = self.child.id();
        let watched = Watched::new(id);
        let hangs = eventually(|| watched.has_ended().then_some(())).is_none();
        let names = || {
            group(id)
                .into_iter()
                .map(|entry| format!("{} ({})", entry.name, entry.pid))
                .collect()
        };
        let outlived_by: Vec<_> = if hangs { Vec::new() } else { names() };
        if !hangs && !outlived_by.is_empty() {
            let _ = eventually(|| group(id).is_empty().then_some(()));
        }
        let left: Vec<_> = names();
        let killed = Pid::from_raw(id.cast_signed()).map(|id| kill_process_group(id, Signal::KILL));
        let status = self.child.wait().expect("waiting for a child");
        let (stdout, stderr) = (self.stdout.join(), self.stderr.join());
        let (stdout, stderr) = (stdout.expect("reading"), stderr.expect("reading"));
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

fn read(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes)
            .expect("reading what a program prints");
        String::from_utf8_lossy(&bytes).into_owned()
    })
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
