#[derive(serde::Serialize)]
struct Job {
    id: u64,
}

#[mp::process_fn]
fn work(jobs: Vec<Job>) -> u64 {
    jobs[0].id
}

fn main() {}
