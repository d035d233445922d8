//! Counts the words in all files below a folder, with a process for each core.
//!
//! ```text
//! cargo run --release --bin wordcount -- [FOLDER] [PROCESSES]
//!
//!                      ┌──▶ count_files ──┐
//!   main ──▶ paths ────┼──▶ count_files ──┼────▶ tallies ──▶ main
//!            (a queue) └──▶ count_files ──┘    (a queue)
//! ```
//!
//! Paths are handed out one by one, so that a process with small files takes more of them than one with a big file.
//! Each process counts into a tally of its own and sends it back whole, so that nothing is shared while counting.
//!
//! Without arguments it counts the text beside this file. The exit code is 0 if every file was counted, 3 if some
//! could not be read as text (they are named, the others counted), 2 if the arguments are wrong, and 1 if the count
//! failed, because a process was killed, say: then the reason is printed and no count, rather than one that is too
//! low.

mod tally;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tally::Tally;

/// What is counted when no folder is named.
const TEXT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/wordcount/text");

/// The work of one process: counts files for as long as there are paths, then sends the tally.
///
/// Paths travel as `OsString`, because serde takes a `PathBuf` for text, and file names need not be UTF-8.
#[mp::process_fn]
fn count_files(
    paths: mp::Queue<OsString>,
    tallies: mp::Queue<Tally>,
) -> Result<(), mp::RemoteError> {
    let mut tally = Tally::default();
    for path in &paths {
        tally.count_file(Path::new(&path));
    }
    tallies.put(tally)?;
    Ok(())
}

/// Counts the words in all files below `folder`, in as many processes as `processes` says.
fn count_folder(folder: &Path, processes: usize) -> mp::Result<Tally> {
    let mut total = Tally::default();
    let paths = mp::Queue::new()?;
    let tallies = mp::Queue::new()?;

    // A queue that is shut down still gives what is in it, and then ends the loops over it. Since this happens before
    // the first process starts, none can ever wait for a path that never comes, whatever fails from here on.
    put_paths(folder, &paths, &mut total)?;
    paths.shutdown()?;

    let workers = (0..processes)
        .map(|_| mp::spawn!(count_files, paths.clone(), tallies.clone()))
        .collect::<mp::Result<Vec<_>>>()?;

    // Join first, then collect. A process that panicked or was killed took files with it that nobody has counted:
    // `join` says so, and `?` ends the count there. Waiting for one tally from each could go on for ever.
    // (In Python this order can deadlock. Here a queue keeps what was put into it, and `put` needs nobody to `get`.)
    for worker in workers {
        worker.join()??;
    }
    tallies.shutdown()?;
    for tally in &tallies {
        total.merge(tally);
    }
    total.problems.sort_unstable();
    Ok(total)
}

/// Puts the path of every file below `folder` into the queue; what cannot be listed is noted as a problem.
fn put_paths(folder: &Path, paths: &mp::Queue<OsString>, total: &mut Tally) -> mp::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            total.note_problem(folder, error);
            return Ok(());
        }
    };
    for entry in entries {
        // The type is that of the entry itself, so that a link to a folder above does not lead round in circles.
        match entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))) {
            Ok((path, kind)) if kind.is_dir() => put_paths(&path, paths, total)?,
            Ok((path, _)) => paths.put(path.into_os_string())?,
            Err(error) => total.note_problem(folder, error),
        }
    }
    Ok(())
}

/// The folder and the number of processes that the command line asks for, or what is wrong with it.
fn arguments() -> Result<(PathBuf, usize), String> {
    let mut arguments = env::args_os().skip(1);
    let folder = PathBuf::from(arguments.next().unwrap_or_else(|| TEXT.into()));
    let processes = match arguments.next() {
        None => mp::cpu_count(),
        Some(number) => number
            .to_str()
            .and_then(|number| number.parse().ok())
            .filter(|&number| number > 0)
            .ok_or_else(|| format!("{number:?} is not a number of processes"))?,
    };
    if let Some(argument) = arguments.next() {
        return Err(format!("unexpected argument {argument:?}"));
    }
    match fs::read_dir(&folder) {
        Ok(_) => Ok((folder, processes)),
        Err(error) => Err(format!("cannot read {}: {error}", folder.display())),
    }
}

#[mp::main]
fn main() -> mp::Result<ExitCode> {
    let (folder, processes) = match arguments() {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("wordcount: {message}\nusage: wordcount [FOLDER] [PROCESSES]");
            return Ok(ExitCode::from(2));
        }
    };
    let total = count_folder(&folder, processes)?;

    for (word, count) in total.most_frequent(20) {
        println!("{count:>9} {word}");
    }
    println!(
        "files: {}, words: {}, distinct words: {}, processes: {processes}",
        total.files,
        total.words(),
        total.distinct_words(),
    );
    for problem in &total.problems {
        eprintln!("wordcount: {problem}");
    }
    let code = if total.problems.is_empty() { 0 } else { 3 };
    Ok(ExitCode::from(code))
}
