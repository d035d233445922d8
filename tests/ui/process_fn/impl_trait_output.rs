#[mp::process_fn]
fn numbers() -> Option<impl Iterator<Item = u32>> {
    Some(0..3)
}

fn main() {}
