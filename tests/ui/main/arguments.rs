#[mp::main]
fn main(arguments: Vec<String>) {}
