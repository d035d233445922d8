//! Collects the messages of two child processes through one queue.
//!
//! In Python: `q = Queue()`, `q.put(…)` in the children and `q.get()` in the parent. There, joining a child before
//! its messages are taken can deadlock. Here the messages stay in the queue when their sender has ended, so the
//! parent may join first; it then knows that there is nothing more to come.

#[mp::process_fn]
fn report(name: &str, steps: u32, messages: mp::Queue<String>) -> Result<(), mp::RemoteError> {
    for step in 1..=steps {
        messages.put(format!("{name} has done step {step} of {steps}"))?;
    }
    Ok(())
}

#[mp::main]
fn main() -> mp::Result<()> {
    let messages = mp::Queue::new()?;
    let alice = mp::spawn!(report, "alice", 3, messages.clone())?;
    let bob = mp::spawn!(report, "bob", 2, messages.clone())?;
    alice.join()??;
    bob.join()??;

    messages.shutdown()?;
    for message in &messages {
        println!("{message}");
    }
    Ok(())
}
