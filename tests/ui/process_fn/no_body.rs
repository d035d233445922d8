trait Work {
    #[mp::process_fn]
    fn work(n: u64) -> u64;
}

fn main() {}
