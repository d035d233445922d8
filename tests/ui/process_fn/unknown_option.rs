#[mp::process_fn(nmae = "stable")]
fn answer() -> u32 {
    42
}

fn main() {}
