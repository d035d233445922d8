mod work {}

#[mp::process_fn]
fn work(n: u64) -> u64 {
    n
}

fn main() {}
