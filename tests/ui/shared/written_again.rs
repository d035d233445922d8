fn main() -> mp::Result<()> {
    let mut numbers = mp::Shared::from_slice(&[1, 2, 3])?;
    numbers[0] = 10;
    Ok(())
}
