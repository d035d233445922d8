//! Python's `multiprocessing`, as it is on this machine.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use crate::{Result, Rival, keeping};

const SCRIPT: &str = include_str!("../../rivals.py");
const ABSENT: &str = "there is no python3 here";

/// One function of `rivals.py`. The interpreter starts at the first round, where the row has pinned its processes, and stays.
pub fn python(function: &'static str) -> Rival<'static> {
    python_of(0, function)
}

/// The same in an interpreter that has touched so many megabytes of memory.
pub fn python_of(megabytes: usize, function: &'static str) -> Rival<'static> {
    if version().is_none() {
        return Err(ABSENT);
    }
    Ok(keeping(
        move || Interpreter::start(function, megabytes),
        Interpreter::run,
    ))
}

/// One function of `rivals.py` whose answer is no time, but the private memory of a process in bytes.
pub fn python_memory(
    function: &'static str,
) -> std::result::Result<impl FnMut() -> Result<u64>, &'static str> {
    if version().is_none() {
        return Err(ABSENT);
    }
    let mut interpreter = None;
    Ok(move || {
        let interpreter = match &mut interpreter {
            Some(interpreter) => interpreter,
            none => none.insert(Interpreter::start(function, 0)?),
        };
        Ok(interpreter.ask(1)?.parse()?)
    })
}

/// The same, of a function that needs one of the `MODULES`.
pub fn python_with(module: &str, function: &'static str) -> Rival<'static> {
    if modules().split_whitespace().any(|known| known == module) {
        python(function)
    } else {
        Err("python3 does not have it; install it with pip")
    }
}

/// The pools that Python has besides its own.
const MODULES: [&str; 3] = ["loky", "mpire", "pebble"];

/// Those of them that are installed.
fn modules() -> &'static str {
    static FOUND: OnceLock<String> = OnceLock::new();
    FOUND.get_or_init(|| {
        let find = "import sys; from importlib.util import find_spec; print(*filter(find_spec, sys.argv[1:]))";
        let output = Command::new("python3").args(["-c", find]).args(MODULES).output();
        output.map_or_else(
            |_| String::new(),
            |output| String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    })
}

/// Tells which Python there is, such as `Python 3.11.7`.
pub fn version() -> Option<&'static str> {
    static VERSION: OnceLock<Option<String>> = OnceLock::new();
    let version = VERSION.get_or_init(|| {
        let output = Command::new("python3").arg("--version").output().ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    });
    version.as_deref()
}

struct Interpreter(Child);

impl Interpreter {
    fn start(function: &str, megabytes: usize) -> Result<Self> {
        let child = Command::new("python3")
            .args(["-c", SCRIPT, function, &megabytes.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Self(child))
    }

    fn run(&mut self, count: u64) -> Result<Duration> {
        Ok(Duration::try_from_secs_f64(self.ask(count)?.parse()?)?)
    }

    fn ask(&mut self, count: u64) -> Result<String> {
        let (Some(orders), Some(answers)) = (&mut self.0.stdin, &mut self.0.stdout) else {
            return Err(mp::RemoteError::msg("its pipes are closed"));
        };
        writeln!(orders, "{count}")?;
        let mut answer = String::new();
        if BufReader::new(answers).read_line(&mut answer)? == 0 {
            return Err(mp::RemoteError::msg(
                "the interpreter ended without an answer; what it said is above",
            ));
        }
        Ok(answer.trim().to_owned())
    }
}

impl Drop for Interpreter {
    /// The script ends at the end of its input.
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
