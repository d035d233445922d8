//! Runs a function with an argument in a child process.
//!
//! In Python: `p = Process(target=greet, args=("bob",))`, then `p.start()` and `p.join()`. Here a process starts when
//! it is made, and `join` gives what the function returned, or says why it could not return.

#[mp::process_fn]
fn greet(name: &str) {
    println!("hello {name}");
}

#[mp::main]
fn main() -> mp::Result<()> {
    println!("the parent starts a child");
    let child = mp::spawn!(greet, "bob")?;
    child.join()?;
    println!("the child has ended");
    Ok(())
}
