#[mp::main]
fn main() -> Result<(), std::fmt::Error> {
    "done"
}
