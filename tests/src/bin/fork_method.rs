//! A program that wants a start method which this version does not have.

#[mp::main(start_method = "fork")]
fn main() {
    println!("main ran");
}
