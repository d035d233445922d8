//! A program that forks unless it is told otherwise.

#[mp::process_fn]
fn method() -> String {
    mp::start_method().to_string()
}

#[mp::main(start_method = "fork")]
fn main() -> mp::Result<()> {
    let here = mp::start_method();
    println!("{here}, and in a child {}", mp::spawn!(method)?.join()?);
    let spawned = mp::Builder::new()
        .start_method(mp::StartMethod::Spawn)
        .spawn::<method>(())?;
    println!("{here}, and in another program {}", spawned.join()?);
    Ok(())
}
