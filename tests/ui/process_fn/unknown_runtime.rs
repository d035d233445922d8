#[mp::process_fn(runtime = "smol")]
async fn fetch(url: String) -> String {
    url
}

fn main() {}
