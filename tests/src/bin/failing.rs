//! A program whose `main` returns an error.
//!
//! `failing (panic | remote | start | encode | queue | io)`

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

#[mp::process_fn]
fn panic() {
    panic!("on purpose");
}

#[derive(Debug)]
struct Unreadable(std::num::ParseIntError);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is not readable")
    }
}

impl std::error::Error for Unreadable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[mp::process_fn]
fn configure(text: &str) -> Result<u32, mp::RemoteError> {
    Ok(text.parse().map_err(Unreadable)?)
}

#[derive(Serialize, Deserialize)]
struct Flat {
    #[serde(flatten)]
    rest: HashMap<String, u32>,
}

#[mp::process_fn]
fn give(value: Flat) -> usize {
    value.rest.len()
}

#[mp::main]
fn main() -> mp::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("panic") => mp::spawn!(panic)?.join()?,
        Some("remote") => println!("{}", mp::spawn!(configure, "x")?.join()??),
        Some("start") => {
            mp::set_executable("/gone");
            mp::spawn!(panic)?;
        }
        Some("encode") => {
            let rest = HashMap::from([("a".to_owned(), 1)]);
            mp::spawn!(give, Flat { rest })?;
        }
        Some("queue") => {
            let queue = mp::Queue::<u32>::new()?;
            queue.shutdown()?;
            queue.get()?;
        }
        Some("io") => drop(std::fs::File::open("/gone")?),
        other => println!("what is {other:?}?"),
    }
    Ok(())
}
