//! Sends requests to a child process and receives its replies, through a pipe.
//!
//! In Python: `here, there = Pipe()`, and `recv` raises `EOFError` when the other end is closed. There, the parent
//! has to close its copy of `there` by hand, or the child waits for ever. Here `there` moves into the child, and each
//! end knows the types that it sends and receives.

#[mp::process_fn]
fn measure(requests: mp::Connection<usize, String>) -> Result<(), mp::RemoteError> {
    loop {
        match requests.recv() {
            Ok(word) => requests.send(word.len())?,
            Err(mp::RecvError::Closed) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

#[mp::main]
fn main() -> mp::Result<()> {
    let (here, there) = mp::pipe::<String, usize>()?;
    let child = mp::spawn!(measure, there)?;
    for word in ["a", "request", "and its reply"] {
        here.send(word.to_owned())?;
        println!("{word:?} has {} bytes", here.recv()?);
    }
    drop(here);
    child.join()??;
    println!("the child saw that the pipe is closed");
    Ok(())
}
