//! Ctrl-C at a terminal, SIGTERM to the processes in its foreground, and SIGINT from other processes, by each start method:
//! the parent decides what becomes of its children, who say nothing.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use mp::StartMethod;
use multiproc_tests::methods;
use multiproc_tests::program::{Ended, Running};
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

methods! {
    a_program_without_a_handler_ends_with_all_its_children,
    a_program_with_a_handler_has_the_values_of_its_children,
    a_program_with_a_handler_may_be_interrupted_twice,
    a_child_with_a_handler_is_told,
    a_program_that_ignores_sigint_does_not_see_it,
    an_interrupt_of_one_child_ends_that_one,
    sigterm_ends_the_children_and_a_program_without_a_handler,
    sigterm_ends_the_children_and_a_program_may_go_on,
}

/// A program with a terminal of its own.
struct Terminal {
    running: Running,
    keys: File,
}

impl Terminal {
    /// Starts the program, whatever this process does with SIGINT, and waits until its children are there.
    #[track_caller]
    fn new(sigint: &str, method: StartMethod, way: &str) -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("making a terminal");
        grantpt(&terminal).expect("granting");
        unlockpt(&terminal).expect("unlocking");
        let name = ptsname(&terminal, Vec::new()).expect("it has a name");
        let name = name.into_string().expect("it is a path");
        let stdin = File::options().read(true).write(true).open(name);
        let mut command = Command::new("env");
        command
            .arg(format!("--{sigint}-signal=INT"))
            .arg(env!("CARGO_BIN_EXE_tree_program"))
            .args(["terminal", method.name(), way]);
        let running = Running::start_reading(&mut command, stdin.expect("opening"));
        running.said("ready\n");
        let keys = File::from(terminal);
        Self { running, keys }
    }

    fn press_ctrl_c(&mut self) {
        self.keys.write_all(b"\x03").expect("typing");
        // The terminal has sent the signal before it shows the key.
        let (mut shown, mut byte) = (Vec::new(), [0]);
        while !shown.ends_with(b"^C") {
            self.keys.read_exact(&mut byte).expect("it is shown");
            shown.extend(byte);
        }
    }

    fn terminate(&self) {
        let id = Pid::from_raw(self.running.child.id().cast_signed()).expect("it is a process");
        kill_process_group(id, Signal::TERM).expect("it leads a group");
    }
}

/// All children gave their values.
const VALUES: &str = "alone: 1\nparent: 3\ndaemon: 1\n";
/// And so do those that are started later.
const LATER: &str = "later: 2\n";

#[track_caller]
fn check(ended: Ended, said: &[&str]) {
    let ended = ended.nothing_left().code(0);
    assert_eq!((&*ended.stdout, &*ended.stderr), (&*said.concat(), ""));
}

#[track_caller]
fn check_signal(ended: Ended, signal: Signal) {
    let ended = ended.nothing_stays();
    assert_eq!(ended.status.signal(), Some(signal.as_raw()), "{ended:#?}");
    assert_eq!((&*ended.stdout, &*ended.stderr), ("ready\n", ""));
}

fn a_program_without_a_handler_ends_with_all_its_children(method: StartMethod) {
    for presses in [1, 2] {
        let mut terminal = Terminal::new("default", method, "leave");
        for _ in 0..presses {
            terminal.keys.write_all(b"\x03").expect("typing");
        }
        check_signal(terminal.running.end(), Signal::INT);
    }
}

fn a_program_with_a_handler_has_the_values_of_its_children(method: StartMethod) {
    let mut terminal = Terminal::new("default", method, "handle");
    terminal.press_ctrl_c();
    check(
        terminal.running.end(),
        &["ready\npressed 1\n", VALUES, LATER],
    );
}

fn a_program_with_a_handler_may_be_interrupted_twice(method: StartMethod) {
    let mut terminal = Terminal::new("default", method, "handle twice");
    terminal.press_ctrl_c();
    terminal.running.said("pressed 1\n");
    terminal.press_ctrl_c();
    check(
        terminal.running.end(),
        &["ready\npressed 1\npressed 2\n", VALUES, LATER],
    );
}

fn a_child_with_a_handler_is_told(method: StartMethod) {
    let mut terminal = Terminal::new("default", method, "children handle");
    terminal.press_ctrl_c();
    let said = [
        "ready\npressed 1\n",
        VALUES,
        "handles: \"handled\"\n",
        LATER,
    ];
    check(terminal.running.end(), &said);
}

/// As `nohup` does with SIGHUP, and a shell script with SIGINT in its background.
fn a_program_that_ignores_sigint_does_not_see_it(method: StartMethod) {
    let mut terminal = Terminal::new("ignore", method, "ignored");
    terminal.press_ctrl_c();
    terminal.keys.write_all(b"\n").expect("typing");
    let ended = terminal.running.end();
    let ignored = |line: &str| {
        let (_, mask) = line.split_once(": ").expect("it is told");
        u64::from_str_radix(mask.trim_matches('"'), 16).expect("a mask")
    };
    let told: Vec<_> = ended.stdout.lines().take(2).collect();
    let [child, program] = told[..] else {
        panic!("{ended:#?}");
    };
    assert_ne!(
        ignored(program) & (1 << (Signal::INT.as_raw() - 1)),
        0,
        "{ended:#?}"
    );
    assert_eq!(ignored(child), ignored(program), "{ended:#?}");
    let said = [child, "\n", program, "\nready\n", VALUES, LATER].concat();
    check(ended, &[&said]);
}

fn an_interrupt_of_one_child_ends_that_one(method: StartMethod) {
    let terminal = Terminal::new("default", method, "interrupt");
    let said = [
        "ready\nalone: signal 2\nparent: 3\ndaemon: signal 2\n",
        LATER,
    ];
    check(terminal.running.end(), &said);
}

fn sigterm_ends_the_children_and_a_program_without_a_handler(method: StartMethod) {
    let terminal = Terminal::new("default", method, "leave");
    terminal.terminate();
    check_signal(terminal.running.end(), Signal::TERM);
}

fn sigterm_ends_the_children_and_a_program_may_go_on(method: StartMethod) {
    let terminal = Terminal::new("default", method, "terminated");
    terminal.terminate();
    let said = [
        "ready\nalone: signal 15\nparent: signal 15\ndaemon: signal 15\n",
        LATER,
    ];
    check(terminal.running.end(), &said);
}
