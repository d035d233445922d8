#[mp::process_fn(runtime = "tokio")]
fn fetch(url: String) -> String {
    url
}

fn main() {}
