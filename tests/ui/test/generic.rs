#[mp::test]
fn adds<T>() {}

fn main() {}
