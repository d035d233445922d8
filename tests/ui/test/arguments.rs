#[mp::test]
fn adds(n: u64) {
    assert_eq!(n + 1, 2);
}

fn main() {}
