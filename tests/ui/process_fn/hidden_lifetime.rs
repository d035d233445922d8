use std::borrow::Cow;

#[mp::process_fn]
fn length(text: Cow<str>) -> usize {
    text.len()
}

fn main() {}
