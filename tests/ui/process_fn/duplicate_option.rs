#[mp::process_fn(name = "stable", name = "other")]
fn answer() -> u32 {
    42
}

fn main() {}
