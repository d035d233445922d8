//! An `async fn main` with a runtime from another attribute.

/// The program.
#[mp::main]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), std::fmt::Error> {
    std::future::ready(Ok(())).await
}
