#[mp::process_fn(name)]
fn answer() -> u32 {
    42
}

fn main() {}
