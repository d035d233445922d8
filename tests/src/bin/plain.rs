//! A program that does something to its own file, then starts a child.
//!
//! `plain [delete | replace FILE | execute FILE]…`

use std::{env, fs, io};

/// Another version of the program does not have this function, but one that is named alike.
#[mp::process_fn(name = "plain::double")]
fn double(n: u32) -> u32 {
    2 * n
}

fn prepare() -> io::Result<()> {
    let this = env::current_exe()?;
    let mut words = env::args_os().skip(1);
    while let Some(word) = words.next() {
        let mut file = || words.next().ok_or_else(|| io::Error::other("which file?"));
        match word.to_str() {
            Some("delete") => fs::remove_file(&this)?,
            Some("replace") => fs::rename(file()?, &this)?,
            Some("execute") => mp::set_executable(file()?),
            _ => return Err(io::Error::other(format!("what is {word:?}?"))),
        }
    }
    Ok(())
}

#[mp::main]
fn main() -> mp::Result<()> {
    prepare()?;
    match mp::spawn!(double, 21)?.join() {
        Ok(value) => println!("{value}"),
        Err(error) => println!("{:?}: {error}", error.ran()),
    }
    Ok(())
}
