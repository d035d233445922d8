#[mp::process_fn]
fn first<T: Clone, const N: usize>(items: [T; N]) -> T {
    items[0].clone()
}

fn main() {}
