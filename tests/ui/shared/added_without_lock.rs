fn main() -> mp::Result<()> {
    let total = mp::Value::new(0)?;
    total += 1;
    Ok(())
}
