#[mp::process_fn]
fn trimmed(text: &str) -> &str {
    text.trim()
}

#[mp::process_fn]
fn trimmed_if_any<'a>(text: &'a str) -> Option<std::borrow::Cow<'a, str>> {
    Some(text.trim().into())
}

fn main() {}
