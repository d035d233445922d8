#[derive(serde::Serialize, serde::Deserialize)]
struct Job {
    id: u64,
}

#[mp::process_fn]
fn work(job: &Job, factors: &[u64]) -> u64 {
    job.id * factors[0]
}

fn main() {}
