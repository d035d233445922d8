//! What a process can be given before it starts.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::PathBuf;

use mp::Error;
use multiproc_tests::leaks::alone;
use multiproc_tests::program::Folder;
use multiproc_tests::watchdog::Watchdog;

#[mp::process_fn]
fn environment() -> BTreeMap<String, String> {
    std::env::vars().collect()
}

#[mp::process_fn]
fn working_directory() -> PathBuf {
    std::env::current_dir().unwrap()
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

fn builder() -> mp::Builder {
    mp::Builder::new()
}

#[mp::test]
fn variables_are_inherited_set_and_removed() {
    let _watchdog = Watchdog::new();
    let run = |builder: mp::Builder| builder.spawn::<environment>(()).unwrap().join().unwrap();
    let mine: BTreeMap<_, _> = std::env::vars().collect();
    assert_eq!(run(builder()), mine, "without a trace of its start");

    let set = run(builder()
        .env("A", "1")
        .env("A", "2")
        .env("B", "")
        .env("PATH", "x"));
    assert_eq!((&*set["A"], &*set["B"], &*set["PATH"]), ("2", "", "x"));
    assert_eq!(set.len(), mine.len() + 2);

    let removed = run(builder()
        .env("A", "1")
        .env_remove("A")
        .env_remove("PATH")
        .env_remove("NOT THERE"));
    assert_eq!(
        removed,
        mine.into_iter()
            .filter(|(name, _)| name != "PATH")
            .collect()
    );

    let cleared = run(builder()
        .env("A", "1")
        .env_clear()
        .env("B", "=2=\n")
        .envs([("C", "3"), ("Ö", "ß")]));
    let expected = [("B", "=2=\n"), ("C", "3"), ("Ö", "ß")];
    assert_eq!(
        cleared,
        expected
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    );
    assert_eq!(run(builder().env_clear()), BTreeMap::new());
}

#[mp::test]
fn variables_are_the_same_through_a_standard_stdio() {
    let _watchdog = Watchdog::new();
    let builder = builder()
        .env_clear()
        .env("B", "=2=\n")
        .env("C", "")
        .stdin(std::process::Stdio::null());
    let expected = [("B", "=2=\n"), ("C", "")];
    let environment = builder.spawn::<environment>(()).unwrap().join().unwrap();
    assert_eq!(
        environment,
        expected
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    );
}

#[mp::test]
fn the_librarys_own_variable_cannot_be_set_by_mistake() {
    let _watchdog = Watchdog::new();
    for stdio in [mp::Stdio::inherit, mp::Stdio::null, mp::Stdio::piped] {
        let builder = builder().env("MULTIPROC_CHILD", "junk").stdin(stdio());
        match builder.spawn::<environment>(()) {
            Ok(process) => assert!(!process.join().unwrap().contains_key("MULTIPROC_CHILD")),
            Err(error) => assert!(error.to_string().contains("MULTIPROC_CHILD"), "{error}"),
        }
    }
}

#[mp::test]
fn variables_that_cannot_be_are_errors_of_the_start() {
    alone(|| {
        for (name, value) in [
            ("", "1"),
            ("A=B", "1"),
            ("=", "1"),
            ("A\0", "1"),
            ("A", "1\0"),
        ] {
            for stdio in [mp::Stdio::inherit, mp::Stdio::null, mp::Stdio::piped] {
                let error = builder()
                    .env(name, value)
                    .stdin(stdio())
                    .spawn::<environment>(())
                    .unwrap_err();
                assert!(matches!(error, Error::Start { .. }), "{error:?}");
                assert!(error.to_string().contains("environment"), "{error}");
            }
        }
    });
}

#[mp::test]
fn the_working_directory_is_the_one_given() {
    let _watchdog = Watchdog::new();
    let folder = Folder::new();
    let path = fs::canonicalize(folder.path()).unwrap();
    for stdio in [mp::Stdio::inherit, mp::Stdio::null, mp::Stdio::piped] {
        let process = builder()
            .current_dir(&path)
            .stdin(stdio())
            .spawn::<working_directory>(())
            .unwrap();
        assert_eq!(process.join().unwrap(), path);
    }
    let process = builder().spawn::<working_directory>(()).unwrap();
    assert_eq!(process.join().unwrap(), std::env::current_dir().unwrap());
}

#[mp::test]
fn streams_are_files() {
    let folder = Folder::new();
    alone(|| {
        let path = |name: &str| folder.path().join(name);
        fs::write(path("in"), "text").unwrap();
        let builder = builder()
            .stdin(File::open(path("in")).unwrap())
            .stdout(File::create(path("out")).unwrap())
            .stderr(rustix::fd::OwnedFd::from(
                File::create(path("err")).unwrap(),
            ));
        assert_eq!(builder.spawn::<echo>(()).unwrap().join().unwrap(), 4);
        assert_eq!(fs::read_to_string(path("out")).unwrap(), "out text");
        assert_eq!(fs::read_to_string(path("err")).unwrap(), "err text");
    });
}

#[mp::test]
fn streams_are_one_file() {
    let folder = Folder::new();
    alone(|| {
        let path = folder.path().join("both");
        let file = File::create(&path).unwrap();
        let builder = builder()
            .stdin(mp::Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file);
        assert_eq!(builder.spawn::<echo>(()).unwrap().join().unwrap(), 0);
        assert_eq!(fs::read_to_string(&path).unwrap(), "out err ");
    });
}

#[mp::test]
fn streams_are_pipes() {
    alone(|| {
        let pipes: [fn() -> mp::Stdio; 2] =
            [mp::Stdio::piped, || std::process::Stdio::piped().into()];
        for pipe in pipes {
            let process = builder()
                .stdin(pipe())
                .stdout(pipe())
                .stderr(pipe())
                .spawn::<echo>(())
                .unwrap();
            let mut stdin = process.take_stdin().unwrap();
            assert!(process.take_stdin().is_none(), "it is taken once");
            stdin.write_all(b"text").unwrap();
            drop(stdin);
            assert_eq!(
                io::read_to_string(process.take_stdout().unwrap()).unwrap(),
                "out text"
            );
            assert_eq!(
                io::read_to_string(process.take_stderr().unwrap()).unwrap(),
                "err text"
            );
            assert_eq!(process.join().unwrap(), 4);
        }
    });
}

#[mp::test]
fn streams_are_pipes_that_nobody_takes() {
    alone(|| {
        let process = builder()
            .stdin(mp::Stdio::null())
            .stdout(mp::Stdio::piped())
            .spawn::<echo>(())
            .unwrap();
        assert_eq!(process.join().unwrap(), 0);
    });
}

#[mp::test]
fn streams_are_of_different_kinds() {
    let folder = Folder::new();
    alone(|| {
        let path = folder.path().join("file");
        fs::write(&path, "text").unwrap();
        let builder = builder()
            .stdin(File::open(&path).unwrap())
            .stdout(mp::Stdio::piped())
            .stderr(std::process::Stdio::null());
        let process = builder.spawn::<echo>(()).unwrap();
        assert_eq!(
            io::read_to_string(process.take_stdout().unwrap()).unwrap(),
            "out text"
        );
        assert!(process.take_stdin().is_none() && process.take_stderr().is_none());
        assert_eq!(process.join().unwrap(), 4);
    });
}

#[mp::test]
fn streams_are_nothing() {
    alone(|| {
        let nothings: [fn() -> mp::Stdio; 2] =
            [mp::Stdio::null, || std::process::Stdio::null().into()];
        for nothing in nothings {
            let builder = builder()
                .stdin(nothing())
                .stdout(nothing())
                .stderr(nothing());
            assert_eq!(builder.spawn::<echo>(()).unwrap().join().unwrap(), 0);
        }
    });
}
