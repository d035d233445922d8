#[mp::main(start_method = "vfork")]
fn main() {}
