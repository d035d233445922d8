//! A program with two functions of one name.

#[mp::process_fn(name = "twice")]
fn first() {}

#[mp::process_fn(name = "twice")]
fn second() {}

#[mp::main]
fn main() {
    println!("main ran");
    first();
    second();
}
