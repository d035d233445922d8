#[derive(serde::Serialize)]
struct Report {
    lines: u64,
}

#[mp::process_fn]
fn work(lines: u64) -> Option<Report> {
    Some(Report { lines })
}

fn main() {}
