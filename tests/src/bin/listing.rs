//! A program that lists what is open in its children.
//!
//! `listing (inherit | null | piped | standard)`

use std::fs::File;

use multiproc_tests::processes::descriptors;

#[mp::process_fn]
fn list() -> Vec<String> {
    descriptors()
}

#[mp::process_fn]
fn list_in_child() -> Vec<String> {
    mp::spawn!(list).unwrap().join().unwrap()
}

#[mp::main]
fn main() -> mp::Result<()> {
    let stdio: fn() -> mp::Stdio = match std::env::args().nth(1).as_deref() {
        Some("inherit") => mp::Stdio::inherit,
        Some("null") => mp::Stdio::null,
        Some("piped") => mp::Stdio::piped,
        _ => || std::process::Stdio::null().into(),
    };
    // Descriptors that every program started from here inherits.
    let null = File::open("/dev/null")?;
    let leaked: Vec<_> = (0..10).map(|_| rustix::io::dup(&null)).collect();
    let builder = || mp::Builder::new().stdin(stdio()).stdout(stdio());
    for line in builder().spawn::<list>(())?.join()? {
        println!("{line}");
    }
    for line in builder().spawn::<list_in_child>(())?.join()? {
        println!("{line}");
    }
    drop(leaked);
    Ok(())
}
