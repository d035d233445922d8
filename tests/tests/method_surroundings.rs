//! Environment, working directory and standard streams of children that are started by each method: those of who asks, as they
//! are then, changed by the builder.

use std::collections::BTreeMap;
use std::env::{current_dir, set_current_dir};
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use mp::{Builder, Error, StartMethod};
use multiproc_tests::clib::{close_stdin, set_variable};
use multiproc_tests::methods;
use multiproc_tests::methods::{available, by, named, start, value};
use multiproc_tests::processes::descriptors;
use multiproc_tests::program::Folder;
use rustix::fd::{AsFd, OwnedFd};

methods! {
    variables_are_inherited_set_and_removed,
    variables_that_the_parent_changes_are_seen_by_those_that_start_later,
    variables_are_the_same_with_standard_streams_of_each_kind,
    variables_that_cannot_be_are_errors_of_the_start,
    the_librarys_own_variable_is_nowhere,
    changes_of_a_child_are_its_own,
    the_working_directory_is_the_parents_or_the_one_given,
    a_working_directory_that_vanished_stops_nobody,
    a_working_directory_that_cannot_be_entered_is_an_error_of_the_start,
    relative_directories_are_the_parents,
    streams_are_inherited,
    streams_are_nothing,
    streams_are_pipes,
    streams_are_files,
    streams_are_one_file,
    streams_are_of_different_kinds,
    streams_that_the_parent_replaced_are_those_of_its_children,
    streams_that_the_parent_closed_are_closed_or_nothing,
    input_that_the_parent_has_read_ahead_is_not_the_childs,
    output_without_an_end_of_line_is_flushed_at_the_end,
    output_that_the_parent_holds_back_is_printed_once,
    output_that_the_parent_has_locked_is_the_childs_as_well,
    file_positions_are_shared_with_who_opened_the_file,
    grandchildren_have_what_their_parents_have,
}

#[mp::process_fn]
fn variables() -> BTreeMap<String, String> {
    std::env::vars().collect()
}

/// What programs see that a child starts.
#[mp::process_fn]
fn variables_of_a_program() -> BTreeMap<String, String> {
    let output = std::process::Command::new("/usr/bin/env")
        .arg("-0")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let pairs = text
        .split_terminator('\0')
        .filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

type Make = fn() -> mp::Stdio;

/// The kinds of streams, of this library and of the standard one.
const STDIO: [(&str, Make); 6] = [
    ("inherited", mp::Stdio::inherit),
    ("null", mp::Stdio::null),
    ("piped", mp::Stdio::piped),
    ("standard inherited", || Stdio::inherit().into()),
    ("standard null", || Stdio::null().into()),
    ("standard piped", || Stdio::piped().into()),
];

fn map<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

fn variables_are_inherited_set_and_removed(method: StartMethod) {
    let run = |builder: Builder| builder.spawn::<variables>(()).unwrap().join().unwrap();
    let mine = variables();
    assert_eq!(run(by(method)), mine, "without a trace of its start");

    let set = run(by(method)
        .env("A", "1")
        .env("A", "2")
        .env("B", "")
        .env("PATH", "x"));
    assert_eq!((&*set["A"], &*set["B"], &*set["PATH"]), ("2", "", "x"));
    assert_eq!(set.len(), mine.len() + 2);

    let removed = run(by(method)
        .env("A", "1")
        .env_remove("A")
        .env_remove("PATH")
        .env_remove("NONE"));
    let mut expected = mine.clone();
    expected.remove("PATH");
    assert_eq!(removed, expected);

    let cleared = by(method).env("A", "1").env_clear().env("B", "=2=\n");
    let cleared = run(cleared.envs([("C", "3"), ("Ö", "ß")]));
    assert_eq!(cleared, map([("B", "=2=\n"), ("C", "3"), ("Ö", "ß")]));
    assert_eq!(run(by(method).env_clear()), BTreeMap::new());
    // What one child was given is not there for the next one.
    assert_eq!(run(by(method)), mine);
}

fn variables_that_the_parent_changes_are_seen_by_those_that_start_later(method: StartMethod) {
    let seen = || {
        let (own, of_a_program) = (
            value::<variables>(method, ()),
            value::<variables_of_a_program>(method, ()),
        );
        assert_eq!(own.get("CHANGES"), of_a_program.get("CHANGES"));
        own
    };
    let before = seen();
    assert_eq!(before.get("CHANGES"), None);
    for change in [Some("once"), Some("twice"), Some(""), None] {
        set_variable("CHANGES", change);
        let seen = seen();
        assert_eq!(seen.get("CHANGES").map(String::as_str), change);
        assert_eq!(seen.len(), before.len() + usize::from(change.is_some()));
    }
}

fn variables_are_the_same_with_standard_streams_of_each_kind(method: StartMethod) {
    for (what, stdio) in STDIO {
        let builder = by(method)
            .env_clear()
            .env("B", "=2=\n")
            .env("C", "")
            .stdin(stdio());
        let seen = builder.spawn::<variables>(()).unwrap().join().unwrap();
        assert_eq!(seen, map([("B", "=2=\n"), ("C", "")]), "{what}");
    }
}

fn variables_that_cannot_be_are_errors_of_the_start(method: StartMethod) {
    for (name, value) in [
        ("", "1"),
        ("A=B", "1"),
        ("=", "1"),
        ("A\0", "1"),
        ("A", "1\0"),
    ] {
        for (what, stdio) in STDIO {
            let builder = by(method).env(name, value).stdin(stdio());
            let error = builder.spawn::<variables>(()).unwrap_err();
            assert!(matches!(error, Error::Start { .. }), "{what}: {error:?}");
            assert!(error.to_string().contains("environment"), "{what}: {error}");
        }
    }
    assert_eq!(mp::active_children().len(), 0);
}

fn the_librarys_own_variable_is_nowhere(method: StartMethod) {
    let none = |seen: &BTreeMap<String, String>| !seen.keys().any(|name| name == "MULTIPROC_CHILD");
    assert!(none(&value::<variables>(method, ())));
    assert!(none(&value::<variables_of_a_program>(method, ())));
    match by(method)
        .env("MULTIPROC_CHILD", "junk")
        .spawn::<variables>(())
    {
        Ok(process) => assert!(none(&process.join().unwrap())),
        Err(error) => assert!(error.to_string().contains("MULTIPROC_CHILD"), "{error}"),
    }
    // By somebody who sets it while this process runs.
    set_variable("MULTIPROC_CHILD", Some("1:2:0:3:4:5:6"));
    let seen = value::<variables>(method, ());
    set_variable("MULTIPROC_CHILD", None);
    assert!(none(&seen), "{seen:?}");
}

#[mp::process_fn]
fn change(folder: &Path) -> PathBuf {
    set_variable("CHANGED", Some("by a child"));
    set_current_dir(folder).unwrap();
    current_dir().unwrap()
}

fn changes_of_a_child_are_its_own(method: StartMethod) {
    let folder = Folder::new();
    let path = fs::canonicalize(folder.path()).unwrap();
    let (mine, here) = (variables(), current_dir().unwrap());
    assert_eq!(value::<change>(method, &path), path);
    assert_eq!(
        (variables(), current_dir().unwrap()),
        (mine.clone(), here.clone())
    );
    assert_eq!(value::<variables>(method, ()), mine);
    assert_eq!(value::<directory>(method, ()).unwrap(), here);
}

#[mp::process_fn]
fn directory() -> Result<PathBuf, String> {
    current_dir().map_err(|error| error.to_string())
}

fn the_working_directory_is_the_parents_or_the_one_given(method: StartMethod) {
    let folder = Folder::new();
    let path = fs::canonicalize(folder.path()).unwrap();
    let below = path.join("below");
    fs::create_dir(&below).unwrap();
    let here = current_dir().unwrap();
    for (what, stdio) in STDIO {
        let run = |builder: Builder| {
            builder
                .stdin(stdio())
                .spawn::<directory>(())
                .unwrap()
                .join()
                .unwrap()
        };
        assert_eq!(run(by(method)).unwrap(), here, "{what}");
        assert_eq!(run(by(method).current_dir(&path)).unwrap(), path, "{what}");
        set_current_dir(&below).unwrap();
        assert_eq!(run(by(method)).unwrap(), below, "{what}");
        assert_eq!(run(by(method).current_dir(&path)).unwrap(), path, "{what}");
        set_current_dir(&here).unwrap();
        assert_eq!(run(by(method)).unwrap(), here, "{what}");
    }
}

fn a_working_directory_that_vanished_stops_nobody(method: StartMethod) {
    let here = current_dir().unwrap();
    let folder = Folder::new();
    set_current_dir(folder.path()).unwrap();
    fs::remove_dir(folder.path()).unwrap();
    for (what, stdio) in STDIO {
        let run = |builder: Builder| {
            builder
                .stdin(stdio())
                .spawn::<directory>(())
                .unwrap()
                .join()
                .unwrap()
        };
        let seen = run(by(method)).unwrap_err();
        assert!(seen.contains("No such file"), "{what}: {seen}");
        assert_eq!(
            run(by(method).current_dir("/")).unwrap(),
            Path::new("/"),
            "{what}"
        );
    }
    set_current_dir(here).unwrap();
}

fn a_working_directory_that_cannot_be_entered_is_an_error_of_the_start(method: StartMethod) {
    let folder = Folder::new();
    let (gone, file) = (folder.path().join("gone"), folder.path().join("file"));
    fs::write(&file, "").unwrap();
    for (path, cause) in [
        (&*gone, "No such file"),
        (&*file, "ot a directory"),
        (Path::new("a\0b"), "NUL byte"),
    ] {
        for (what, stdio) in STDIO {
            let builder = by(method).current_dir(path).stdin(stdio());
            let error = builder.spawn::<directory>(()).unwrap_err();
            assert!(matches!(error, Error::Start { .. }), "{what}: {error:?}");
            for words in ["method_surroundings::directory", "working directory", cause] {
                assert!(
                    error.to_string().contains(words),
                    "{what}, {words}: {error}"
                );
            }
        }
    }
    assert_eq!(mp::active_children().len(), 0);
    assert_eq!(
        value::<directory>(method, ()).unwrap(),
        current_dir().unwrap()
    );
}

fn relative_directories_are_the_parents(method: StartMethod) {
    let here = current_dir().unwrap();
    let folder = Folder::new();
    let path = fs::canonicalize(folder.path()).unwrap();
    fs::create_dir(path.join("below")).unwrap();
    set_current_dir(&path).unwrap();
    for relative in ["below", "./below/../below", "."] {
        let process = by(method)
            .current_dir(relative)
            .spawn::<directory>(())
            .unwrap();
        let expected = fs::canonicalize(path.join(relative)).unwrap();
        assert_eq!(process.join().unwrap().unwrap(), expected, "{relative}");
    }
    set_current_dir(here).unwrap();
}

/// Writes to both outputs what it reads, and returns how much that is.
#[mp::process_fn]
fn echo() -> usize {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).unwrap();
    print!("out {text}");
    io::stdout().flush().unwrap();
    eprint!("err {text}");
    text.len()
}

/// Replaces a standard stream of this process while it runs something.
#[track_caller]
fn replaced<T>(stream: u8, by: &impl AsFd, run: impl FnOnce() -> T) -> T {
    io::stdout().flush().unwrap();
    let (kept, result);
    match stream {
        0 => {
            kept = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3).unwrap();
            rustix::stdio::dup2_stdin(by).unwrap();
            result = run();
            rustix::stdio::dup2_stdin(kept).unwrap();
        }
        1 => {
            kept = rustix::io::fcntl_dupfd_cloexec(io::stdout(), 3).unwrap();
            rustix::stdio::dup2_stdout(by).unwrap();
            result = run();
            io::stdout().flush().unwrap();
            rustix::stdio::dup2_stdout(kept).unwrap();
        }
        _ => {
            kept = rustix::io::fcntl_dupfd_cloexec(io::stderr(), 3).unwrap();
            rustix::stdio::dup2_stderr(by).unwrap();
            result = run();
            rustix::stdio::dup2_stderr(kept).unwrap();
        }
    }
    result
}

/// A file with a text, to be read from its beginning.
fn file(text: &str) -> File {
    let file = rustix::fs::memfd_create("text", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let mut file = File::from(file);
    file.write_all(text.as_bytes()).unwrap();
    file.rewind().unwrap();
    file
}

/// All that is in a file.
fn contents(mut file: &File) -> String {
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

fn streams_are_inherited(method: StartMethod) {
    let inherits: [fn(Builder) -> Builder; 3] = [
        |builder| builder,
        |builder| {
            builder
                .stdin(mp::Stdio::inherit())
                .stdout(mp::Stdio::inherit())
                .stderr(mp::Stdio::inherit())
        },
        |builder| {
            builder
                .stdin(Stdio::inherit())
                .stdout(Stdio::inherit())
                .stderr(Stdio::inherit())
        },
    ];
    for inherit in inherits {
        let (input, output, errors) = (file("text"), file(""), file(""));
        let run = || {
            inherit(by(method))
                .spawn::<echo>(())
                .unwrap()
                .join()
                .unwrap()
        };
        let read = replaced(0, &input, || {
            replaced(1, &output, || replaced(2, &errors, run))
        });
        assert_eq!(read, 4);
        assert_eq!(
            (&*contents(&output), &*contents(&errors)),
            ("out text", "err text")
        );
    }
}

fn streams_are_nothing(method: StartMethod) {
    for nothing in [mp::Stdio::null, || Stdio::null().into()] {
        let builder = by(method)
            .stdin(nothing())
            .stdout(nothing())
            .stderr(nothing());
        assert_eq!(builder.spawn::<echo>(()).unwrap().join().unwrap(), 0);
    }
}

fn streams_are_pipes(method: StartMethod) {
    for pipe in [mp::Stdio::piped, || Stdio::piped().into()] {
        let builder = by(method).stdin(pipe()).stdout(pipe()).stderr(pipe());
        let process = builder.spawn::<echo>(()).unwrap();
        // Another child, which is started meanwhile, does not hold them open.
        let (begun, end) = (mp::Event::new().unwrap(), mp::Event::new().unwrap());
        let other = start::<wait>(method, (begun.clone(), end.clone()));
        begun.wait().unwrap();
        let mut stdin = process.take_stdin().unwrap();
        assert!(process.take_stdin().is_none(), "it is taken once");
        stdin.write_all(b"text").unwrap();
        drop(stdin);
        let read = |pipe: Box<dyn Read>| io::read_to_string(pipe).unwrap();
        assert_eq!(read(Box::new(process.take_stdout().unwrap())), "out text");
        assert_eq!(read(Box::new(process.take_stderr().unwrap())), "err text");
        assert_eq!(process.join().unwrap(), 4);
        end.set();
        other.join().unwrap();
        // Pipes that nobody takes.
        let builder = by(method)
            .stdin(mp::Stdio::null())
            .stdout(pipe())
            .stderr(pipe());
        assert_eq!(builder.spawn::<echo>(()).unwrap().join().unwrap(), 0);
    }
}

#[mp::process_fn]
fn wait(begun: mp::Event, end: mp::Event) {
    begun.set();
    end.wait().unwrap();
}

fn streams_are_files(method: StartMethod) {
    let kinds: [fn(File) -> mp::Stdio; 3] = [
        |file| file.into(),
        |file| OwnedFd::from(file).into(),
        |file| Stdio::from(file).into(),
    ];
    for kind in kinds {
        let (output, errors) = (file(""), file(""));
        let process = by(method)
            .stdin(kind(file("text")))
            .stdout(kind(output.try_clone().unwrap()))
            .stderr(kind(errors.try_clone().unwrap()))
            .spawn::<echo>(())
            .unwrap();
        assert_eq!(process.join().unwrap(), 4);
        assert_eq!(
            (&*contents(&output), &*contents(&errors)),
            ("out text", "err text")
        );
    }
}

fn streams_are_one_file(method: StartMethod) {
    let both = file("");
    let process = by(method)
        .stdin(mp::Stdio::null())
        .stdout(both.try_clone().unwrap())
        .stderr(both.try_clone().unwrap())
        .spawn::<echo>(())
        .unwrap();
    assert_eq!(process.join().unwrap(), 0);
    assert_eq!(contents(&both), "out err ");
}

fn streams_are_of_different_kinds(method: StartMethod) {
    let builder = by(method)
        .stdin(file("text"))
        .stdout(mp::Stdio::piped())
        .stderr(Stdio::null());
    let process = builder.spawn::<echo>(()).unwrap();
    assert_eq!(
        io::read_to_string(process.take_stdout().unwrap()).unwrap(),
        "out text"
    );
    assert!(process.take_stdin().is_none() && process.take_stderr().is_none());
    assert_eq!(process.join().unwrap(), 4);
}

/// More than once, because a fork server is older than that.
fn streams_that_the_parent_replaced_are_those_of_its_children(method: StartMethod) {
    for text in ["one", "two"] {
        let (input, output, errors) = (file(text), file(""), file(""));
        let run = || value::<echo>(method, ());
        let read = replaced(0, &input, || {
            replaced(1, &output, || replaced(2, &errors, run))
        });
        assert_eq!(read, 3);
        assert_eq!(contents(&output), format!("out {text}"));
        assert_eq!(contents(&errors), format!("err {text}"));
    }
}

#[mp::process_fn]
fn streams() -> Vec<String> {
    let mut open = descriptors();
    open.retain(|link| ["0", "1", "2"].contains(&link.split(' ').next().unwrap()));
    open
}

/// Starts children by a method from a process whose standard input is closed.
#[mp::process_fn]
fn close_input(method: &str) -> Vec<String> {
    close_stdin();
    assert_eq!(streams().len(), 2);
    let seen = value::<streams>(named(method), ());
    assert_eq!(value::<streams>(named(method), ()), seen);
    seen
}

fn streams_that_the_parent_closed_are_closed_or_nothing(method: StartMethod) {
    let seen = value::<close_input>(StartMethod::Spawn, method.name());
    match &seen[..] {
        [input, output, errors] => {
            assert_eq!(input, "0 -> /dev/null", "{seen:?}");
            assert!(
                output.starts_with("1 ") && errors.starts_with("2 "),
                "{seen:?}"
            );
        }
        [output, errors] => assert!(
            output.starts_with("1 ") && errors.starts_with("2 "),
            "{seen:?}"
        ),
        _ => panic!("{seen:?}"),
    }
}

#[mp::process_fn]
fn read_all() -> String {
    io::read_to_string(io::stdin()).unwrap()
}

/// Reads a line, and with it more than a line, and then starts children by a method: one with an input of its own, and one
/// with the same.
#[mp::process_fn]
fn read_ahead(method: &str) -> [String; 3] {
    let mut line = String::new();
    io::stdin().read_line(&mut line).unwrap();
    let builder = by(named(method)).stdin(file("its own"));
    let own = builder.spawn::<read_all>(()).unwrap().join().unwrap();
    let same = value::<read_all>(named(method), ());
    [line, own, same]
}

/// What is in the parent's buffer is the parent's.
fn input_that_the_parent_has_read_ahead_is_not_the_childs(method: StartMethod) {
    if method == StartMethod::Fork {
        // A copy has its parent's buffer, as `StartMethod` says.
        return;
    }
    let builder = by(StartMethod::Spawn).stdin(file("first\nsecond\nthird\n"));
    let read = builder
        .spawn::<read_ahead>(method.name())
        .unwrap()
        .join()
        .unwrap();
    assert_eq!(read, ["first\n", "its own", ""]);
}

#[mp::process_fn]
fn print(text: &str) {
    print!("{text}");
}

fn output_without_an_end_of_line_is_flushed_at_the_end(method: StartMethod) {
    for text in [
        "no end",
        "an end\n",
        "an end\nno end",
        &"long ".repeat(10_000),
    ] {
        let process = by(method)
            .stdout(mp::Stdio::piped())
            .spawn::<print>(text)
            .unwrap();
        // Nobody else has the pipe, so that its end is the child's.
        assert!(io::read_to_string(process.take_stdout().unwrap()).unwrap() == text);
        process.join().unwrap();
    }
}

/// Prints something without an end of line, starts a child by a method, and prints the rest.
#[mp::process_fn]
fn print_around(method: &str) {
    print!("before ");
    multiproc_tests::clib::c_print("(before) ");
    value::<print>(named(method), "child ");
    print!("after");
}

fn output_that_the_parent_holds_back_is_printed_once(method: StartMethod) {
    for first in available() {
        let output = file("");
        let builder = by(first).stdout(output.try_clone().unwrap());
        let process = builder.spawn::<print_around>(method.name()).unwrap();
        process.join().unwrap();
        let text = contents(&output);
        for words in ["before ", "(before) ", "child ", "after"] {
            assert_eq!(text.matches(words).count(), 1, "{first}, {words}: {text}");
        }
    }
}

/// Prints while it has its output, as a program does that prints much.
#[mp::process_fn]
fn print_locked(method: &str) {
    let mut stdout = io::stdout().lock();
    write!(stdout, "before ").unwrap();
    value::<print>(named(method), "child ");
    write!(stdout, "after").unwrap();
}

fn output_that_the_parent_has_locked_is_the_childs_as_well(method: StartMethod) {
    let output = file("");
    let builder = by(StartMethod::Spawn).stdout(output.try_clone().unwrap());
    let process = builder.spawn::<print_locked>(method.name()).unwrap();
    process.join().unwrap();
    let text = contents(&output);
    for words in ["before ", "child ", "after"] {
        assert_eq!(text.matches(words).count(), 1, "{words}: {text}");
    }
}

#[mp::process_fn]
fn read_some() -> String {
    let mut bytes = [0; 3];
    rustix::io::read(io::stdin(), &mut bytes).unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn file_positions_are_shared_with_who_opened_the_file(method: StartMethod) {
    let input = file("onetwosix");
    let read = || {
        by(method)
            .stdin(input.try_clone().unwrap())
            .spawn::<read_some>(())
            .unwrap()
            .join()
            .unwrap()
    };
    assert_eq!([read(), read(), read()], ["one", "two", "six"]);
}

#[mp::process_fn]
fn look_below(method: &str) -> (BTreeMap<String, String>, PathBuf, String) {
    let method = named(method);
    let text = value::<read_all>(method, ());
    (
        value::<variables>(method, ()),
        value::<directory>(method, ()).unwrap(),
        text,
    )
}

fn grandchildren_have_what_their_parents_have(method: StartMethod) {
    for first in available() {
        let builder = by(first)
            .env_clear()
            .env("A", "1")
            .current_dir("/")
            .stdin(file("input"));
        let process = builder.spawn::<look_below>(method.name()).unwrap();
        let (variables, directory, text) = process.join().unwrap();
        assert_eq!(variables, map([("A", "1")]), "{first}");
        assert_eq!((&*directory, &*text), (Path::new("/"), "input"), "{first}");
    }
}
