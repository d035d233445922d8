//! What others can do to a tree of processes, and learn of it: nothing by its environment, its arguments or its
//! descriptors.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use mp::StartMethod;
use multiproc_tests::methods;
use multiproc_tests::methods::by;
use multiproc_tests::processes::{Entry, children, entry};
use multiproc_tests::program::{Folder, Running, run};
use multiproc_tests::trees;
use rustix::process::geteuid;

const VARIABLE: &str = "MULTIPROC_CHILD";

methods! {
    set_user_id_programs_start_no_children_by_marks,
    descriptors_of_each_process_are_close_on_exec,
    programs_that_processes_execute_have_nothing_of_ours,
    nothing_that_the_system_shows_tells_arguments,
    marks_that_others_can_see_are_worth_nothing;
    once: set_user_id_programs_ignore_the_mark_of_a_child,
}

// Set-user-id programs.

/// A copy of the program that runs with the rights of another user; `None` where there is no such thing.
fn set_user_id(folder: &Folder) -> Option<PathBuf> {
    if !geteuid().is_root() {
        eprintln!("skipped: only root may make a program of another user");
        return None;
    }
    let program = folder.copy(env!("CARGO_BIN_EXE_tree_program"), "program");
    chown(&program, Some(61_234), None).expect("root may do that");
    fs::set_permissions(&program, Permissions::from_mode(0o4755)).expect("root may do that");
    let ended = run(Command::new(&program).arg("main"));
    if ended.success().contains("set-user-id: false") {
        eprintln!(
            "skipped: no set-user-id programs in {}",
            folder.path().display()
        );
        return None;
    }
    Some(program)
}

fn set_user_id_programs_ignore_the_mark_of_a_child() {
    let folder = Folder::new();
    let ordinary = folder.copy(env!("CARGO_BIN_EXE_tree_program"), "ordinary");
    let Some(program) = set_user_id(&folder) else {
        return;
    };
    for mark in [
        "",
        "garbage",
        "1:2:0:3:4:5:6",
        "4096:1:1:300:301:302:303:304",
    ] {
        run(Command::new(&ordinary).arg("main").env(VARIABLE, mark)).code(70);
        let ended = run(Command::new(&program).arg("main").env(VARIABLE, mark)).nothing_left();
        assert_eq!(ended.success(), "set-user-id: true, mark: None\n");
    }
}

/// A child by `Spawn` would be the program again, which ignores its mark, and so on.
fn set_user_id_programs_start_no_children_by_marks(method: StartMethod) {
    let folder = Folder::new();
    let Some(program) = set_user_id(&folder) else {
        return;
    };
    let ended = run(Command::new(&program).args(["values", method.name()])).nothing_left();
    if method == StartMethod::Fork {
        assert!(ended.success().contains("grandchild: 3\n"));
        return;
    }
    let ended = ended.code(1);
    for words in ["cannot start a process for `", "set-user-id", "Fork"] {
        assert!(ended.stderr.contains(words), "{words}: {ended:#?}");
    }
    assert_eq!(ended.stdout, "");
}

// Descriptors.

/// The descriptors of a process, but for the standard streams, that programs which it executes would have.
fn inheritable(process: &Entry) -> Vec<String> {
    let folder = format!("/proc/{}", process.pid);
    let infos = fs::read_dir(format!("{folder}/fdinfo")).expect("the process is there");
    let numbers = infos
        .flatten()
        .map(|info| info.file_name().into_string().expect("a number"));
    let leaks = numbers.filter(|number| {
        let info = fs::read_to_string(format!("{folder}/fdinfo/{number}"));
        let info = info.expect("it does nothing, and has it open");
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = u32::from_str_radix(flags.expect("they are told").trim(), 8);
        let is_standard = ["0", "1", "2"].contains(&number.as_str());
        !is_standard && flags.expect("a number") & 0o2_000_000 == 0
    });
    let target = |number: &str| fs::read_link(format!("{folder}/fd/{number}")).unwrap_or_default();
    leaks
        .map(|number| format!("{number} -> {}", target(&number).display()))
        .collect()
}

/// What whoever runs the tests has open, and passes on to them. The parent of this process uses nothing of the library.
fn passed_on_to_tests() -> Vec<String> {
    let this = entry(std::process::id()).expect("it is here");
    inheritable(&entry(this.parent).expect("it waits for this one"))
}

fn descriptors_of_each_process_are_close_on_exec(method: StartMethod) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tree_program"));
    let methods = format!("{method},spawn,spawn");
    let running = Running::start(command.args(["family", &methods, "idle", "wait"]));
    running.said("ready\n");
    let processes = running.processes();
    // The program, three daemons, a child with a daemon, two workers.
    assert!(processes.len() >= 8, "{processes:?}");
    let ours = passed_on_to_tests();
    for process in &processes {
        let mut leaks = inheritable(process);
        leaks.retain(|leak| !ours.contains(leak));
        assert_eq!(leaks, [] as [&str; 0], "{process:?}");
    }
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&running.child),
        rustix::process::Signal::KILL,
    )
    .expect("it is there");
    running.end().nothing_stays();
}

/// What a program sees that is executed here: its descriptors, and whether it has our variable.
fn look() -> String {
    let script = "ls -C /proc/self/fd; env | grep MULTIPROC_CHILD; true";
    let mut command = Command::new("sh");
    let command = command.args(["-c", script]).stdin(Stdio::null());
    let output = command
        .stderr(Stdio::null())
        .output()
        .expect("running a shell");
    String::from_utf8(output.stdout).expect("it is text")
}

/// Looks from here, and from a child.
#[mp::process_fn]
fn look_around(method: &str, below: u32, _pipe: Option<mp::Connection<u8, u8>>) -> Vec<String> {
    let mut seen = vec![look()];
    if below > 0 {
        let (_mine, its) = mp::pipe().expect("making a pipe");
        let child = trees::by(method).spawn::<look_around>((method, below - 1, Some(its)));
        seen.extend(child.expect("starting").join().expect("joining"));
    }
    seen
}

#[mp::process_fn]
fn look_from_worker(_n: u32) -> String {
    look()
}

fn programs_that_processes_execute_have_nothing_of_ours(method: StartMethod) {
    let mut seen = look_around(method.name(), 2, None);
    let pool = mp::Pool::builder().workers(2).start_method(method);
    let pool = pool.build().expect("making a pool");
    seen.extend(pool.map::<look_from_worker>(0..4).expect("it works"));
    seen.push(look());
    assert_eq!(seen.len(), 8);
    let ours = passed_on_to_tests();
    let is_ours = |number: &str| {
        let link = format!("{number} -> ");
        ours.iter().any(|ours| ours.starts_with(&link))
    };
    for seen in seen {
        // The last one is what `ls` reads.
        let mut numbers: Vec<_> = seen.split_whitespace().collect();
        numbers.retain(|number| !is_ours(number));
        assert_eq!(numbers, ["0", "1", "2", "3"]);
    }
}

// What the system shows to everybody.

#[mp::process_fn]
fn keep(_secret: &str, _bytes: Vec<u8>, begun: mp::Semaphore, go: mp::Event) {
    begun.release().expect("releasing");
    go.wait().expect("waiting");
}

#[mp::process_fn]
fn learn(_secret: String) {}

/// Where this can be read of a process.
fn shown(process: &Entry, secret: &str) -> Vec<String> {
    let folder = format!("/proc/{}", process.pid);
    let files = ["environ", "cmdline", "comm", "maps", "status", "mountinfo"];
    let mut places: Vec<_> = files.map(|file| format!("{folder}/{file}")).into();
    let threads = fs::read_dir(format!("{folder}/task"))
        .into_iter()
        .flatten()
        .flatten();
    places.extend(threads.map(|thread| format!("{}/comm", thread.path().display())));
    places.retain(|place| {
        let bytes = fs::read(place).unwrap_or_default();
        bytes
            .windows(secret.len())
            .any(|window| window == secret.as_bytes())
    });
    let links = fs::read_dir(format!("{folder}/fd"))
        .into_iter()
        .flatten()
        .flatten();
    let targets = links.filter_map(|link| fs::read_link(link.path()).ok());
    let targets = targets.map(|target| target.display().to_string());
    places.extend(targets.filter(|target| target.contains(secret)));
    places
}

fn nothing_that_the_system_shows_tells_arguments(method: StartMethod) {
    // Short, so that it could be part of a name.
    let secret = format!(
        "s{:x}",
        0x9e37_79b9_u32.wrapping_mul(std::process::id() | 1)
    );
    let (begun, go) = (
        mp::Semaphore::new(0).expect("making a semaphore"),
        mp::Event::new().expect("making an event"),
    );
    let long = secret.repeat(10_000).into_bytes();
    let mut kept = Vec::new();
    for bytes in [Vec::new(), long.clone()] {
        let args = (&*secret, bytes, begun.clone(), go.clone());
        kept.push(by(method).spawn::<keep>(args).expect("starting"));
    }
    let pool = mp::Pool::builder().workers(1).start_method(method);
    let pool = pool
        .initializer::<learn>(secret.clone())
        .build()
        .expect("making a pool");
    let job = (secret.clone(), long, begun.clone(), go.clone());
    let task = pool.submit::<keep_task>(job).expect("submitting");
    for _ in 0..3 {
        begun.acquire().expect("they begin").forget();
    }
    let everybody = fs::read_dir("/proc").expect("listing").flatten();
    let pids = everybody.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let processes: Vec<_> = pids.filter_map(entry).collect();
    assert!(processes.len() > 4);
    for process in processes {
        assert_eq!(shown(&process, &secret), [] as [&str; 0], "{process:?}");
    }
    go.set();
    task.get().expect("it ends");
    kept.into_iter()
        .for_each(|child| child.join().expect("it ends"));
}

/// Does what [`keep`] does with arguments of its own.
#[mp::process_fn]
fn keep_task(_secret: String, _bytes: Vec<u8>, begun: mp::Semaphore, go: mp::Event) {
    begun.release().expect("releasing");
    go.wait().expect("waiting");
}

// Marks.

/// The marks in the environments of processes below this one, as everybody of this user sees them.
fn marks() -> BTreeSet<String> {
    let prefix = format!("{VARIABLE}=");
    let environments = children().into_iter().filter_map(|child| {
        let environment = fs::read(format!("/proc/{}/environ", child.pid)).ok()?;
        Some(String::from_utf8_lossy(&environment).into_owned())
    });
    let variables = environments.flat_map(|all| {
        let variables = all.split('\0').map(str::to_owned);
        variables.collect::<Vec<_>>()
    });
    let marks = variables.filter_map(|variable| Some(variable.strip_prefix(&prefix)?.to_owned()));
    marks.collect()
}

fn marks_that_others_can_see_are_worth_nothing(method: StartMethod) {
    let (begun, go) = (
        mp::Semaphore::new(0).expect("making a semaphore"),
        mp::Event::new().expect("making an event"),
    );
    let args = ("", Vec::new(), begun.clone(), go.clone());
    let child = by(method).spawn::<keep>(args).expect("starting");
    begun.acquire().expect("it begins").forget();
    let marks = marks();
    assert!(
        !marks.is_empty() || method == StartMethod::Fork,
        "a child knows by its mark"
    );
    for mark in marks {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tree_program"));
        let ended = run(command.arg("main").env(VARIABLE, &mark)).code(70);
        for words in ["multiproc: ", VARIABLE, &mark, "is not there", "unset it"] {
            assert!(ended.stderr.contains(words), "{words}: {ended:#?}");
        }
        assert_eq!(ended.stdout, "");
    }
    go.set();
    child.join().expect("it is not hurt");
}
