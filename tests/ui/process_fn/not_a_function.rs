#[mp::process_fn]
pub struct Job {
    pub id: u64,
}

#[mp::process_fn]
impl Job {}

#[mp::process_fn]
const LIMIT: usize = 3;

fn main() {}
