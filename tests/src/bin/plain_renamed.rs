//! A newer version of `plain`, in which the function has another name.

#[mp::process_fn(name = "plain::doubled")]
fn doubled(n: u32) -> u32 {
    2 * n
}

#[mp::main]
fn main() -> mp::Result<()> {
    println!("{}", mp::spawn!(doubled, 21)?.join()?);
    Ok(())
}
