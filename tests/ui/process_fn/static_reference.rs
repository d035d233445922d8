#[mp::process_fn]
fn length(text: &'static str) -> usize {
    text.len()
}

fn main() {}
