#[mp::test]
mod tests {}

fn main() {}
