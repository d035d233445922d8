#[mp::process_fn]
fn parse(text: &str) -> Result<u32, Box<dyn std::error::Error + Send + Sync>> {
    Ok(text.parse()?)
}

fn main() {}
