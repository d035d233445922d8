#[mp::main(method = "fork")]
fn main() {}
