//! Starts that fail, or that find another program than they expect.

use std::fs;
use std::path::Path;
use std::process::Command;

use mp::{Error, ProcessError, Ran};
use multiproc_tests::leaks::{alone, nothing};
use multiproc_tests::program::{Folder, run};

#[mp::process_fn]
fn working_directory() -> Option<std::path::PathBuf> {
    std::env::current_dir().ok()
}

fn program(path: impl AsRef<Path>, arguments: &[&str]) -> Command {
    let mut command = Command::new(path.as_ref());
    command.args(arguments);
    command
}

#[test]
fn a_main_without_the_attribute_cannot_start_a_process() {
    let output = run(&mut program(env!("CARGO_BIN_EXE_bare"), &[]))
        .nothing_left()
        .success();
    assert!(
        output.contains("annotate `main` with #[mp::main]"),
        "{output}"
    );
    assert!(!output.contains("started Process"), "{output}");
}

#[test]
fn an_init_that_children_do_not_reach_is_told_in_parent_and_child() {
    let mut command = program(env!("CARGO_BIN_EXE_half_initialized"), &[]);
    let ended = run(command.env("FIRST", "1")).nothing_left();
    assert!(
        ended
            .stderr
            .starts_with("in the child: processes cannot be started here"),
        "{ended:?}"
    );
    let output = ended.success();
    assert!(
        output.contains("Err((No, ")
            && output.contains("does the program's `main` have #[mp::main]"),
        "{output}"
    );
}

#[test]
fn a_program_that_was_deleted_still_starts_children() {
    let folder = Folder::new();
    let copy = folder.copy(env!("CARGO_BIN_EXE_plain"), "plain");
    assert_eq!(
        run(&mut program(&copy, &["delete"]))
            .nothing_left()
            .success(),
        "42\n"
    );
    assert!(!copy.exists());
}

#[test]
fn a_program_that_was_replaced_starts_children_of_its_own_version() {
    let folder = Folder::new();
    for other in [
        "/bin/false",
        env!("CARGO_BIN_EXE_plain_renamed"),
        env!("CARGO_BIN_EXE_bare"),
    ] {
        let copy = folder.copy(env!("CARGO_BIN_EXE_plain"), "plain");
        let other = folder.copy(other, "other");
        let output = run(&mut program(&copy, &["replace", other.to_str().unwrap()]))
            .nothing_left()
            .success();
        assert_eq!(output, "42\n", "replaced by {}", other.display());
    }
}

#[test]
fn a_version_without_the_function_says_which_ones_it_has() {
    let other = env!("CARGO_BIN_EXE_plain_renamed");
    let output = run(&mut program(
        env!("CARGO_BIN_EXE_plain"),
        &["execute", other],
    ))
    .nothing_left()
    .success();
    for words in [
        "No: ",
        "`plain::double`",
        "it has `plain::doubled`",
        "different versions",
        "use the_crate as _;",
    ] {
        assert!(output.contains(words), "{words}: {output}");
    }
}

#[mp::test]
fn an_unknown_function_did_not_run() {
    alone(|| {
        mp::set_executable(env!("CARGO_BIN_EXE_plain"));
        let error = mp::spawn!(working_directory).unwrap().join().unwrap_err();
        let ProcessError::UnknownFunction { hint, .. } = &error else {
            panic!("{error:?}")
        };
        assert!(hint.starts_with("none of the "), "{hint}");
        assert_eq!(
            (error.ran(), &*error.subject().function),
            (Ran::No, "process_start::working_directory")
        );
        mp::set_executable("/proc/self/exe");
    });
}

#[test]
fn two_functions_of_one_name_stop_the_program_before_main() {
    let ended = run(&mut program(env!("CARGO_BIN_EXE_duplicates"), &[]))
        .nothing_left()
        .code(70);
    assert_eq!(ended.stdout, "");
    assert_eq!(
        ended.stderr.matches("tests/src/bin/duplicates.rs:").count(),
        2,
        "{}",
        ended.stderr
    );
    for words in [
        "`twice`",
        "duplicates.rs:4",
        "duplicates.rs:7",
        "#[process_fn(name = \"…\")]",
    ] {
        assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
    }
}

#[test]
fn main_chooses_the_start_method() {
    let ended = run(&mut program(env!("CARGO_BIN_EXE_fork_method"), &[]))
        .nothing_left()
        .success();
    // A program that is executed anew does not come to what `main` says, and is told.
    let expected = "fork, and in a child fork\nfork, and in another program fork\n";
    assert_eq!(ended, expected);
}

#[mp::test]
fn a_start_method_is_set_once() {
    alone(|| {
        mp::set_start_method(mp::StartMethod::Spawn).unwrap();
        let error = mp::set_start_method(mp::StartMethod::Spawn).unwrap_err();
        assert!(
            matches!(error, Error::StartMethodSet { current: "spawn" }),
            "{error}"
        );
        assert_eq!(mp::start_method(), mp::StartMethod::Spawn);
    });
}

#[test]
fn an_async_main_starts_children_outside_of_its_runtime() {
    let output = run(&mut program(env!("CARGO_BIN_EXE_async_main"), &[]))
        .nothing_left()
        .success();
    assert_eq!(output, "thread Some(\"main\"), runtime false\n");
}

#[mp::test]
fn a_working_directory_that_cannot_be_entered_is_an_error_of_the_start() {
    let folder = Folder::new();
    let (gone, file) = (folder.path().join("gone"), folder.path().join("file"));
    fs::write(&file, "").unwrap();
    alone(|| {
        let below = file.join("below");
        let cases: [(&Path, &str); 4] = [
            (&gone, "No such file or directory"),
            (&file, "ot a directory"),
            (&below, "ot a directory"),
            (Path::new("a\0b"), "NUL byte"),
        ];
        for (directory, cause) in cases {
            for stdio in [mp::Stdio::inherit, mp::Stdio::null, mp::Stdio::piped] {
                let builder = mp::Builder::new().current_dir(directory).stdin(stdio());
                let error = builder.spawn::<working_directory>(()).unwrap_err();
                let text = error.to_string();
                assert!(matches!(error, Error::Start { .. }), "{error:?}");
                for words in [
                    "process_start::working_directory",
                    "working directory",
                    cause,
                ] {
                    assert!(text.contains(words), "{words}: {text}");
                }
                assert!(
                    !text.contains("cannot execute"),
                    "the program is not at fault: {text}"
                );
            }
        }
    });
}

#[mp::test]
fn a_program_that_cannot_be_executed_is_an_error_of_the_start() {
    let folder = Folder::new();
    let text = folder.script("text", "no program");
    let binary = folder.script("binary", "\u{1}\u{2}\u{3}");
    let (not_executable, gone) = (folder.path().join("file"), folder.path().join("gone"));
    fs::write(&not_executable, "").unwrap();
    alone(|| {
        for program in [
            &text,
            &binary,
            &not_executable,
            &gone,
            folder.path(),
            Path::new("a\0b"),
        ] {
            for stdio in [mp::Stdio::inherit, mp::Stdio::null, mp::Stdio::piped] {
                mp::set_executable(program);
                let error = match mp::Builder::new()
                    .stdout(stdio())
                    .stderr(stdio())
                    .spawn::<nothing>(())
                {
                    Err(error) => error,
                    // Where a `std::process::Stdio` is given, the C library's `execvp` takes the file for a shell script.
                    Ok(process) => {
                        let error = process.join().unwrap_err();
                        assert!(
                            matches!(error, ProcessError::NotStarted { .. }),
                            "{error:?}"
                        );
                        continue;
                    }
                };
                assert!(
                    matches!(error, Error::Start { .. }),
                    "{}: {error:?}",
                    program.display()
                );
                let text = error.to_string();
                assert!(
                    text.contains("multiproc_tests.nothing") && text.contains("cannot execute"),
                    "{text}"
                );
            }
        }
        mp::set_executable("/proc/self/exe");
        mp::spawn!(nothing).unwrap().join().unwrap();
    });
}

#[mp::process_fn]
fn nest(below: u32) -> Result<u32, mp::RemoteError> {
    match mp::spawn!(nest, below + 1) {
        Ok(process) => process.join()?,
        Err(Error::TooDeep { depth }) if depth == below => Ok(depth),
        Err(error) => Err(error.into()),
    }
}

#[mp::test]
fn a_function_that_starts_itself_meets_a_limit() {
    alone(|| {
        let depth = mp::spawn!(nest, 1).unwrap().join().unwrap().unwrap();
        assert_eq!(depth, 64);
        let error = Error::TooDeep { depth };
        assert!(error.to_string().contains("64 generations"), "{error}");
    });
}
