//! A program that calls `mp::init()` in a branch that its children do not take.

use std::env;

#[mp::process_fn]
fn double(n: u32) -> u32 {
    2 * n
}

fn main() {
    if env::var_os("FIRST").is_some() {
        mp::init();
    }
    let process = match mp::Builder::new().env_remove("FIRST").spawn::<double>(21) {
        Ok(process) => process,
        Err(error) => {
            eprintln!("in the child: {error}");
            return;
        }
    };
    println!(
        "{:?}",
        process
            .join()
            .map_err(|error| (error.ran(), error.to_string()))
    );
}
