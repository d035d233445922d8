#[mp::process_fn]
fn length(text: String) -> usize
where
    String: AsRef<str>,
{
    text.len()
}

fn main() {}
