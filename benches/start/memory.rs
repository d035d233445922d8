//! How much memory an idle child has to itself: what is there only because of it.
//!
//! It is `Private_Clean` and `Private_Dirty` of `/proc/PID/smaps_rollup`, of a process that stopped itself in its function.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;

use benches::machine::Bare;
use benches::rivals::{procspawn, python_memory};
use benches::{Bench, Result};
use mp::StartMethod;

use crate::SMALL;
use crate::parent::{By, Parent, memory_when_stopped};
use crate::times::{CROSSMIST, NOT_HERE};

/// How many children of each contender are looked at. Not in turns: what a process needs does not depend on what else happens.
const ROUNDS: usize = 9;

/// Gives the memory of one child of a contender, or why it cannot be had.
type Measure<'a> = std::result::Result<Box<dyn FnMut() -> Result<u64> + 'a>, &'static str>;

pub fn run(bench: &Bench) -> Result {
    // A parent for each: what one has done before spreads its memory, of which its copies have to copy more.
    let [first, second, third] = std::array::from_fn(|_| Parent::new(SMALL));
    let spawned = [
        ("mp, Spawn", started(&first, By::Spawn)),
        ("an empty program", empty_program()),
        (
            "posix_spawn of this program",
            started(&first, By::BareSpawn),
        ),
        ("Python, spawn", python("idle_spawn")),
        ("procspawn", Ok(Box::new(procspawn::idle))),
        ("crossmist", Err(CROSSMIST)),
    ];
    let served = [
        ("mp, Forkserver", started(&second, By::Forkserver)),
        ("fork", started(&second, By::BareFork)),
        ("Python, forkserver", python("idle_forkserver")),
    ];
    let forked = [
        ("mp, Fork", started(&third, By::Fork)),
        ("fork", started(&third, By::BareFork)),
        ("Python, fork", python("idle_fork")),
    ];
    row(bench, StartMethod::Spawn, 190, spawned)?;
    row(bench, StartMethod::Forkserver, 60, served)?;
    row(bench, StartMethod::Fork, 60, forked)
}

fn started(parent: &Parent, by: By) -> Measure<'_> {
    Ok(Box::new(move || parent.idle(by)))
}

fn python(function: &'static str) -> Measure<'static> {
    Ok(Box::new(python_memory(function)?))
}

/// Measures and prints what children have. The first contender is ours, whose child is to have at most so many KiB.
fn row<const N: usize>(
    bench: &Bench,
    method: StartMethod,
    most: u64,
    contenders: [(&str, Measure<'_>); N],
) -> Result {
    let title = format!("{method}: private memory of an idle child, {SMALL} MB parent");
    if !bench.wants(&title) {
        return Ok(());
    }
    println!("{title}");
    if !StartMethod::available().contains(&method) {
        println!("  not measured: {NOT_HERE}");
        return Ok(());
    }
    let mut ours = None;
    for (name, measure) in contenders {
        let mut measure = match measure {
            Ok(measure) => measure,
            Err(why) => {
                println!("  {name:<44}not measured: {why}");
                continue;
            }
        };
        let sizes = (0..ROUNDS).map(|_| measure()).collect::<Result<Vec<_>>>();
        let mut sizes = sizes.map_err(|error| mp::RemoteError::msg(format!("{name}: {error}")))?;
        sizes.sort_unstable();
        let [least, median, most] = [0, ROUNDS / 2, ROUNDS - 1].map(|place| sizes[place] >> 10);
        let (size, range) = (format!("{median} KiB"), format!("{least}–{most}"));
        let ratio = match ours {
            Some(ours) => format!("{:.2} x", ours as f64 / median as f64),
            None => String::new(),
        };
        ours.get_or_insert(median);
        println!("  {name:<44}{size:>10}{range:>18}{:>13}{ratio:>13}", "");
    }
    let ours = ours.unwrap_or_default();
    let verdict = if ours <= most { "met" } else { "MISSED" };
    println!("  → at most {most} KiB: {ours} KiB, {verdict}");
    Ok(())
}

/// The program beside this one that does nothing.
fn empty_program() -> Measure<'static> {
    let beside = std::env::current_exe().map(|myself| myself.with_file_name("empty-program"));
    let program = beside
        .ok()
        .filter(|path| path.exists())
        .and_then(|path| CString::new(path.as_os_str().as_bytes()).ok())
        .ok_or("build it with --bins")?;
    Ok(Box::new(move || {
        // What files have in memory counts as private while one process has it, which no child of a program is.
        let other = Bare::execute(&program, c"--stop")?;
        let process = Bare::execute(&program, c"--stop")?;
        let memory =
            memory_when_stopped(other.id()).and_then(|_| memory_when_stopped(process.id()));
        other.kill()?;
        process.kill()?;
        memory
    }))
}
