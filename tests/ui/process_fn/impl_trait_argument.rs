#[mp::process_fn]
fn show(one: impl ToString, many: Vec<impl ToString>) -> String {
    one.to_string() + &many[0].to_string()
}

fn main() {}
