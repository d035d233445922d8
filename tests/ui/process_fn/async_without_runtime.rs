#[mp::process_fn]
async fn fetch(url: String) -> String {
    url
}

fn main() {}
