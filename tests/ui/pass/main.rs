//! Any return type that `main` may have, and attributes.

/// The program.
#[mp::main(start_method = "spawn", crate = ::mp)]
#[allow(non_snake_case)]
fn main() -> Result<std::process::ExitCode, std::fmt::Error> {
    #![deny(unused_variables)]
    let Answer = 42;
    assert_eq!(Answer, 42);
    Ok(std::process::ExitCode::SUCCESS)
}
