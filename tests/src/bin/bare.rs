//! A program that forgot `#[mp::main]`.

#[mp::process_fn]
fn double(n: u32) -> u32 {
    2 * n
}

fn main() {
    match mp::spawn!(double, 21) {
        Ok(process) => println!("started {process:?}"),
        Err(error) => println!("{error:?}"),
    }
}
