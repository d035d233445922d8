//! Start and join of a process that does nothing, against a bare `posix_spawn` and `waitpid` of the same program, with
//! parents of different sizes.
//!
//! `cargo run --release -p multiproc-benches --bin start [MEGABYTES …]`, by default 10 and 4096.
//!
//! The two are measured in turns; the figures are medians over all rounds, with the quartiles. The bare child is started by
//! calls of the C library, which are `unsafe`.

#![allow(unsafe_code)]

use std::time::{Duration, Instant};

const ROUNDS: usize = 300;
const WARM_UP: usize = 20;
/// Makes this program exit at once, as the bare child.
const BARE: &str = "--exit-at-once";

#[mp::process_fn]
fn nothing() {}

#[mp::main]
fn main() -> mp::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|argument| argument == BARE) {
        return Ok(());
    }
    let mut sizes: Vec<usize> = arguments
        .iter()
        .filter_map(|argument| argument.parse().ok())
        .collect();
    if sizes.is_empty() {
        sizes = vec![10, 4096];
    }
    println!(
        "{:>10}  {:>26}  {:>26}  ratio",
        "parent", "mp: spawn + join", "posix_spawn + waitpid"
    );
    for megabytes in sizes {
        let ballast = vec![1_u8; megabytes << 20];
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for round in 0..WARM_UP + ROUNDS {
            let (a, b) = (
                measure(|| mp::spawn!(nothing)?.join().map_err(mp::Error::from))?,
                measure(spawn_bare)?,
            );
            if round >= WARM_UP {
                ours.push(a);
                bare.push(b);
            }
        }
        std::hint::black_box(&ballast);
        let (ours, bare) = (Quartiles::of(ours), Quartiles::of(bare));
        let ratio = ours.median.as_secs_f64() / bare.median.as_secs_f64();
        println!("{megabytes:>7} MB  {ours:>26}  {bare:>26}  {ratio:.2}");
    }
    Ok(())
}

fn measure(work: impl FnOnce() -> mp::Result<()>) -> mp::Result<Duration> {
    let begin = Instant::now();
    work()?;
    Ok(begin.elapsed())
}

/// What the machine needs for it: the same program, executed by `posix_spawn`, and waited for.
fn spawn_bare() -> mp::Result<()> {
    let program = c"/proc/self/exe";
    let argument = std::ffi::CString::new(BARE).expect("it has no zero byte");
    let arguments = [
        program.as_ptr().cast_mut(),
        argument.as_ptr().cast_mut(),
        std::ptr::null_mut(),
    ];
    let mut pid = 0;
    let mut status = 0;
    unsafe extern "C" {
        static environ: *const *mut libc::c_char;
    }
    // SAFETY: the strings and arrays outlive the calls and are ended by NUL and null.
    let result = unsafe {
        match libc::posix_spawn(
            &mut pid,
            program.as_ptr(),
            std::ptr::null(),
            std::ptr::null(),
            arguments.as_ptr(),
            environ,
        ) {
            0 => libc::waitpid(pid, &mut status, 0),
            error => -error,
        }
    };
    if result == pid && status == 0 {
        Ok(())
    } else {
        Err(std::io::Error::other("the bare child failed").into())
    }
}

struct Quartiles {
    first: Duration,
    median: Duration,
    third: Duration,
}

impl Quartiles {
    fn of(mut values: Vec<Duration>) -> Self {
        values.sort();
        let at = |part: usize| values[values.len() * part / 4];
        Self {
            first: at(1),
            median: at(2),
            third: at(3),
        }
    }
}

impl std::fmt::Display for Quartiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        f.pad(&format!(
            "{:.3} ms ({:.3}–{:.3})",
            ms(self.median),
            ms(self.first),
            ms(self.third)
        ))
    }
}
