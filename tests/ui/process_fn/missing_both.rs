struct Job {
    id: u64,
}

#[mp::process_fn]
fn work(job: Job) -> u64 {
    job.id
}

fn main() {
    let _ = mp::spawn!(work, Job { id: 3 });
}
