#[mp::process_fn]
fn length(text: &str, #[cfg(debug_assertions)] extra: usize) -> usize {
    text.len() + extra
}

fn main() {}
