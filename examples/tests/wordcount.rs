//! The program counts what a simple count in one process gives, or says why it did not.

mod common;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Folder, Running, eventually, run};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::process::{Pid, Signal, kill_process};

const DEFAULT_TEXT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/wordcount/text");

fn wordcount(folder: &Path, processes: usize) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wordcount"));
    command.arg(folder).arg(processes.to_string());
    command
}

/// Counts words one character at a time, unlike the program.
#[derive(Default)]
struct Count {
    files: usize,
    words: usize,
    counts: BTreeMap<String, usize>,
}

impl Count {
    fn text(&mut self, text: &str) {
        let mut word = String::new();
        let mut apostrophes = String::new();
        // The space ends the last word.
        for c in text.chars().chain([' ']) {
            if c.is_alphanumeric() {
                word += &apostrophes;
                word.push(c);
                apostrophes.clear();
            } else if c == '\'' || c == '’' {
                if !word.is_empty() {
                    apostrophes.push(c);
                }
            } else if !word.is_empty() {
                self.words += 1;
                *self.counts.entry(word.to_lowercase()).or_default() += 1;
                word.clear();
                apostrophes.clear();
            }
        }
        self.files += 1;
    }

    fn folder(&mut self, folder: &Path) {
        for path in files_below(folder) {
            self.text(&fs::read_to_string(path).expect("reading a text"));
        }
    }

    /// What the program should print.
    fn output(&self, processes: usize) -> String {
        let mut words: Vec<_> = self.counts.iter().collect();
        // Stable, and the map is in alphabetical order.
        words.sort_by_key(|&(_, count)| Reverse(count));
        let mut lines = String::new();
        for (word, count) in words.into_iter().take(20) {
            lines += &format!("{count:>9} {word}\n");
        }
        let (files, words, distinct) = (self.files, self.words, self.counts.len());
        lines
            + &format!(
                "files: {files}, words: {words}, distinct words: {distinct}, processes: {processes}\n"
            )
    }
}

/// The files below a folder, sorted, without hidden ones and what Cargo builds. Empty if there is no such folder.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut entries: Vec<_> = entries.flatten().collect();
    entries.sort_unstable_by_key(fs::DirEntry::file_name);
    let mut files = Vec::new();
    for entry in entries {
        let name = entry.file_name();
        if name == "target" || name.as_bytes().starts_with(b".") {
            continue;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files.extend(files_below(&entry.path())),
            Ok(kind) if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
    files
}

#[test]
fn default_text_gives_the_count_of_one_process() {
    let mut count = Count::default();
    count.folder(Path::new(DEFAULT_TEXT));
    assert!(
        count.files >= 4 && count.words > 5_000,
        "the default text is there"
    );
    for processes in [1, 2, 5] {
        let output = run(&mut wordcount(Path::new(DEFAULT_TEXT), processes)).success();
        assert_eq!(output, count.output(processes));
    }
}

#[test]
fn without_arguments_it_counts_the_default_text_with_a_process_for_each_core() {
    let mut count = Count::default();
    count.folder(Path::new(DEFAULT_TEXT));
    let output = run(&mut Command::new(env!("CARGO_BIN_EXE_wordcount"))).success();
    let (_, processes) = output
        .trim_end()
        .rsplit_once(' ')
        .expect("the number of processes");
    let processes = processes.parse().expect("a number");
    assert!(processes >= 1);
    assert_eq!(output, count.output(processes));
}

/// Copies texts that a machine with Rust has into a folder, and gives their count and their size.
fn real_text(folder: &Folder) -> (Count, usize) {
    const ENOUGH: usize = 6_000_000;
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cargo_home = env::var_os("CARGO_HOME").map_or_else(
        || Path::new(&env::var_os("HOME").unwrap_or_default()).join(".cargo"),
        PathBuf::from,
    );
    let sources = [
        PathBuf::from(DEFAULT_TEXT),
        PathBuf::from("/usr/share/common-licenses"),
        repository,
        cargo_home.join("registry/src"),
    ];
    let mut texts = Vec::new();
    let mut size = 0;
    for path in sources.iter().flat_map(|source| files_below(source)) {
        let is_text = path
            .extension()
            .is_none_or(|extension| extension == "txt" || extension == "md" || extension == "rs");
        if !is_text || size >= ENOUGH {
            continue;
        }
        if let Ok(text) = fs::read_to_string(path) {
            size += text.len();
            texts.push(text);
        }
    }
    let mut count = Count::default();
    let mut size = 0;
    // A machine without the sources of our dependencies counts the same texts several times.
    for (number, text) in texts.iter().cycle().enumerate() {
        if size >= ENOUGH {
            break;
        }
        folder.write(format!("{}/{}/{number}", number % 7, number % 3), text);
        count.text(text);
        size += text.len();
    }
    (count, size)
}

#[test]
fn megabytes_of_real_text_give_the_count_of_one_process() {
    let folder = Folder::new("real-text");
    let (count, size) = real_text(&folder);
    assert!(
        size >= 5_000_000 && count.files > 100,
        "{size} bytes in {} files",
        count.files
    );
    for processes in [1, 2, 5] {
        let output = run(&mut wordcount(folder.path(), processes)).success();
        assert_eq!(output, count.output(processes));
    }
}

#[test]
fn words_are_letters_and_digits_with_apostrophes_inside() {
    let folder = Folder::new("words");
    folder.write(
        "a",
        "Don't stop -- 'tis the dogs' bone, rock'n'roll! DON'T… ÉTÉ été",
    );
    folder.write("b/c", "Straße 42 x2 e-mail '' ' ’ don’t\n");
    let output = run(&mut wordcount(folder.path(), 2)).success();
    let expected = "        2 don't
        2 été
        1 42
        1 bone
        1 dogs
        1 don’t
        1 e
        1 mail
        1 rock'n'roll
        1 stop
        1 straße
        1 the
        1 tis
        1 x2
files: 2, words: 16, distinct words: 14, processes: 2
";
    assert_eq!(output, expected);
}

#[test]
fn an_empty_folder_has_no_words() {
    let folder = Folder::new("empty");
    let output = run(&mut wordcount(folder.path(), 3)).success();
    assert_eq!(
        output,
        "files: 0, words: 0, distinct words: 0, processes: 3\n"
    );
}

#[test]
fn what_cannot_be_read_as_text_is_named_and_the_rest_is_counted() {
    let folder = Folder::new("problems");
    folder.write("good", "one two");
    folder.write("broken", b"one\xfftwo");
    folder.write(OsStr::from_bytes(b"caf\xe9"), "two");
    symlink("nowhere", folder.path().join("dangling")).expect("making a link");
    symlink("..", folder.path().join("parent")).expect("making a link");
    for processes in [1, 4] {
        let run = run(&mut wordcount(folder.path(), processes));
        assert_eq!(
            run.stdout,
            format!(
                "        3 two\n        2 one\nfiles: 3, words: 5, distinct words: 2, processes: {processes}\n"
            )
        );
        let path = folder.path().display();
        assert_eq!(
            run.stderr,
            format!(
                "wordcount: {path}/broken: not UTF-8, counted as if its invalid bytes were spaces\n\
                 wordcount: {path}/dangling: No such file or directory (os error 2)\n\
                 wordcount: {path}/parent: Is a directory (os error 21)\n"
            )
        );
        assert_eq!(run.status.code(), Some(3));
    }
}

#[test]
fn wrong_arguments_are_refused() {
    let folder = Folder::new("arguments");
    folder.write("file", "not a folder");
    let path = |name: &str| folder.path().join(name).into_os_string();
    let cases: [(&[OsString], &str); 6] = [
        (
            &[path("nowhere")],
            "nowhere: No such file or directory (os error 2)",
        ),
        (&[path("file")], "file: Not a directory (os error 20)"),
        (
            &[path("."), "0".into()],
            "\"0\" is not a number of processes",
        ),
        (
            &[path("."), "-1".into()],
            "\"-1\" is not a number of processes",
        ),
        (
            &[path("."), "many".into()],
            "\"many\" is not a number of processes",
        ),
        (
            &[path("."), "1".into(), "more".into()],
            "unexpected argument \"more\"",
        ),
    ];
    for (arguments, message) in cases {
        let run = run(Command::new(env!("CARGO_BIN_EXE_wordcount")).args(arguments));
        assert!(
            run.stderr.ends_with(&format!(
                "{message}\nusage: wordcount [FOLDER] [PROCESSES]\n"
            )),
            "{}",
            run.stderr
        );
        assert_eq!((run.stdout.as_str(), run.status.code()), ("", Some(2)));
    }
}

/// A folder with ordinary files and `fifos` pipes, each of which holds the process that counts it until this test has
/// written to it and closed it.
fn folder_with_fifos(fifos: usize) -> (Folder, Vec<PathBuf>) {
    let folder = Folder::new("fifos");
    for number in 0..10 {
        folder.write(number.to_string(), "from a file");
    }
    let fifos = (0..fifos).map(|number| {
        let path = folder.path().join(format!("fifo-{number}"));
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("making a fifo");
        path
    });
    let fifos = fifos.collect();
    (folder, fifos)
}

/// Opens a fifo for writing when somebody has opened it for reading.
fn open_when_read(fifo: &Path) -> File {
    let mut options = OpenOptions::new();
    // Without a reader, such an open fails instead of waiting.
    options
        .write(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32);
    eventually("somebody reads the fifo", || options.open(fifo).ok())
}

/// The child of a program that has a file open.
fn reader_of(file: &Path, program: u32) -> Pid {
    let is_child = |pid: i32| {
        // The parent's id is the second field after the name, which is in parentheses and may contain anything.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        fields.split_whitespace().nth(1) == Some(&program.to_string())
    };
    let reads = |pid: i32| {
        let opened = fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten()
            .flatten();
        opened
            .flat_map(|fd| fs::read_link(fd.path()))
            .any(|opened| opened == file)
    };
    eventually("the reader of the fifo shows", || {
        let processes = fs::read_dir("/proc").expect("listing processes").flatten();
        let mut pids = processes.filter_map(|process| process.file_name().to_str()?.parse().ok());
        pids.find(|&pid| is_child(pid) && reads(pid))
            .and_then(Pid::from_raw)
    })
}

#[test]
fn a_slow_file_is_waited_for() {
    let (folder, fifos) = folder_with_fifos(2);
    let program = Running::start(&mut wordcount(folder.path(), 2));
    let writers: Vec<File> = fifos.iter().map(|fifo| open_when_read(fifo)).collect();
    for mut writer in writers {
        writer.write_all(b"from a fifo").expect("writing to a fifo");
    }
    let output = program.finish().success();
    assert_eq!(
        output,
        "       12 a\n       12 from\n       10 file\n        2 fifo\n\
         files: 12, words: 36, distinct words: 4, processes: 2\n"
    );
}

/// Each process is in the middle of a file when one of them is killed. The others go on to the end.
#[test]
fn a_killed_process_fails_the_count_and_its_signal_is_named() {
    for (processes, victim) in [(1, 0), (2, 0), (2, 1), (5, 2)] {
        let (folder, fifos) = folder_with_fifos(processes);
        let program = Running::start(&mut wordcount(folder.path(), processes));
        let writers: Vec<File> = fifos.iter().map(|fifo| open_when_read(fifo)).collect();
        let pid = reader_of(&fifos[victim], program.id());
        kill_process(pid, Signal::KILL).expect("killing a process of the program");
        drop(writers);

        let run = program.finish();
        assert_eq!(run.stdout, "", "no count is better than a wrong one");
        let pid = pid.as_raw_nonzero();
        for part in ["count_files", &format!("pid {pid}"), "signal 9", "SIGKILL"] {
            assert!(
                run.stderr.contains(part),
                "`{part}` is missing in: {}",
                run.stderr
            );
        }
        assert_eq!(run.status.code(), Some(1));
    }
}
