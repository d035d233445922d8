#[mp::main]
fn main<T>() {}
