struct Counter(u64);

impl Counter {
    #[mp::process_fn]
    fn add(&mut self, n: u64) -> u64 {
        self.0 + n
    }
}

fn main() {}
