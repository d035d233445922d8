//! Queues: one producer and one consumer with messages of four sizes, and four of each.
//!
//! `cargo run --release -p multiproc-benches --bin queues [FILTER …]`
//!
//! The clock runs from the first message that the consumer has to the last. Ours, crossbeam and Python are unbounded for
//! 8 B; for larger messages all have room for the same number. Crossbeam runs between threads, and moves a `Vec` instead of
//! copying its bytes.

use std::time::Duration;

use benches::machine::{Ends, Ring};
use benches::rivals::{iceoryx, ipc, python};
use benches::{Bench, Cores, Result, Work, child, expect, repeat, time};
use crossbeam_channel::{Receiver, Sender};

/// How many messages of 8 B a bounded queue has room for.
const SLOTS: usize = 1024;
const MEMBERS: u64 = 4;

#[mp::main]
fn main() -> Result {
    let bench = Bench::new("queues");
    numbers(&bench)?;
    bytes(&bench)?;
    many(&bench)
}

fn numbers(bench: &Bench) -> Result {
    bench
        .row("queue 1 to 1, 8 B", Cores::Free)
        .with("mp::Queue", |count| queue(mp::Queue::new()?, count))
        .with("mp::Queue::bounded(1024)", |count| {
            queue(mp::Queue::bounded(SLOTS)?, count)
        })
        .with("crossbeam bounded(1024), threads", |count| {
            crossbeam(crossbeam_channel::bounded(SLOTS), count)
        })
        .with("crossbeam unbounded, threads", |count| {
            crossbeam(crossbeam_channel::unbounded(), count)
        })
        .with_rival("ipc-channel", ipc::numbers())
        .with_rival("iceoryx2, polling", iceoryx::numbers())
        .with("bare ring", |count| ring(Ends::Bare, count))
        .with("bare ring, robust mutex at each end", |count| {
            ring(Ends::Locked, count)
        })
        .with_rival("Python Queue", python("queue"))
        .at_least(20e6)
        .at_least_times(0.9, "crossbeam bounded(1024), threads")
        .at_least_times(5.0, "iceoryx2, polling")
        .at_least_times(60.0, "Python Queue")
        .run()
}

#[mp::process_fn]
fn produce(queue: mp::Queue<u64>, count: u64) -> Result {
    Ok((0..=count).try_for_each(|n| queue.put(n))?)
}

fn queue(queue: mp::Queue<u64>, count: u64) -> Result<Duration> {
    let producer = child::<produce>((queue.clone(), count))?;
    expect(queue.get()?, 0)?;
    let elapsed = time(|| (1..=count).try_for_each(|n| expect(queue.get()?, n)))?;
    producer.join()??;
    Ok(elapsed)
}

fn crossbeam((sender, receiver): (Sender<u64>, Receiver<u64>), count: u64) -> Result<Duration> {
    std::thread::scope(|scope| {
        // It ends early only when the receiver has failed, and then says nothing of interest.
        scope.spawn(move || (0..=count).try_for_each(|n| sender.send(n)));
        expect(receiver.recv()?, 0)?;
        time(|| (1..=count).try_for_each(|n| expect(receiver.recv()?, n)))
    })
}

#[mp::process_fn]
fn produce_ring(path: String, is_locked: bool, count: u64) -> Result {
    let ends = if is_locked { Ends::Locked } else { Ends::Bare };
    let ring = Ring::open(&path, ends, SLOTS as u64, 8)?;
    for n in 0..=count {
        ring.send(&n.to_le_bytes());
    }
    Ok(())
}

fn ring(ends: Ends, count: u64) -> Result<Duration> {
    let ring = Ring::new(ends, SLOTS as u64, 8)?;
    let is_locked = ends == Ends::Locked;
    let producer = child::<produce_ring>((ring.path().to_owned(), is_locked, count))?;
    let once = |n: u64| {
        let mut message = [0; 8];
        ring.receive(&mut message);
        expect(u64::from_le_bytes(message), n)
    };
    once(0)?;
    let elapsed = time(|| (1..=count).try_for_each(once))?;
    producer.join()??;
    Ok(elapsed)
}

/// A size of messages: its row, its length, how many there is room for, and Python's function.
type Size = (&'static str, usize, usize, &'static str);

fn bytes(bench: &Bench) -> Result {
    let sizes: [(Size, f64); 3] = [
        (("queue 1 to 1, 1 KiB", 1 << 10, 1024, "queue_1k"), 5e6),
        (("queue 1 to 1, 64 KiB", 64 << 10, 64, "queue_64k"), 0.4e6),
        (("queue 1 to 1, 1 MiB", 1 << 20, 8, "queue_1m"), 20e3),
    ];
    for ((what, length, slots, function), target) in sizes {
        bench
            .row(what, Cores::Free)
            .with("mp::Queue::bounded, put_ref", queue_bytes(length, slots))
            .with("crossbeam bounded, threads", crossbeam_bytes(length, slots))
            .with_rival("ipc-channel, bytes", ipc::bytes(length))
            .with_rival("iceoryx2, polling, copied", iceoryx::bytes(length, slots))
            .with("bare ring, copied in and out", ring_bytes(length, slots))
            .with_rival("Python Queue", python(function))
            .at_least(target)
            .run()?;
    }
    Ok(())
}

#[mp::process_fn]
fn produce_bytes(queue: mp::Queue<Vec<u8>>, count: u64, length: usize) -> Result {
    let message = vec![7; length];
    Ok((0..=count).try_for_each(|_| queue.put_ref(&message))?)
}

/// Fails when a message is not what was sent: its length and its last byte tell.
fn expect_message(message: &[u8], length: usize) -> Result {
    expect((message.len(), message.last()), (length, Some(&7)))
}

fn queue_bytes(length: usize, slots: usize) -> Work<'static> {
    Box::new(move |count| {
        let queue = mp::Queue::bounded(slots)?;
        let producer = child::<produce_bytes>((queue.clone(), count, length))?;
        queue.get()?;
        let elapsed = repeat(count, || expect_message(&queue.get()?, length))?;
        producer.join()??;
        Ok(elapsed)
    })
}

fn crossbeam_bytes(length: usize, slots: usize) -> Work<'static> {
    Box::new(move |count| {
        let (sender, receiver) = crossbeam_channel::bounded::<Vec<u8>>(slots);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let message = vec![7; length];
                (0..=count).try_for_each(|_| sender.send(message.clone()))
            });
            receiver.recv()?;
            repeat(count, || expect_message(&receiver.recv()?, length))
        })
    })
}

#[mp::process_fn]
fn produce_ring_bytes(path: String, count: u64, length: usize, slots: u64) -> Result {
    let ring = Ring::open(&path, Ends::Bare, slots, length)?;
    let message = vec![7; length];
    (0..=count).for_each(|_| ring.send(&message));
    Ok(())
}

fn ring_bytes(length: usize, slots: usize) -> Work<'static> {
    Box::new(move |count| {
        let slots = slots as u64;
        let ring = Ring::new(Ends::Bare, slots, length)?;
        let path = ring.path().to_owned();
        let producer = child::<produce_ring_bytes>((path, count, length, slots))?;
        let mut message = vec![0; length];
        ring.receive(&mut message);
        let elapsed = repeat(count, || {
            ring.receive(&mut message);
            expect_message(&message, length)
        })?;
        producer.join()??;
        Ok(elapsed)
    })
}

fn many(bench: &Bench) -> Result {
    bench
        .row("queue 4 to 4, 8 B", Cores::Free)
        .with("mp::Queue", many_queue)
        .with("crossbeam unbounded, threads", many_crossbeam)
        .with("bare ring, robust mutex at each end", many_ring)
        .at_least(5e6)
        .run()
}

/// How the members of a many-to-many row begin at once, and tell that they are done.
type Signals = (mp::Queue<()>, mp::Event, mp::Queue<()>);

/// Waits until all say that they are ready, lets them run, and times them to the last one that is done.
fn run_members((ready, go, done): &Signals, members: u64) -> Result<Duration> {
    (0..members).try_for_each(|_| ready.get())?;
    go.set();
    time(|| Ok((0..MEMBERS).try_for_each(|_| done.get())?))
}

fn signals() -> Result<Signals> {
    Ok((mp::Queue::new()?, mp::Event::new()?, mp::Queue::new()?))
}

#[mp::process_fn]
fn produce_share(queue: mp::Queue<u64>, signals: Signals, count: u64) -> Result {
    signals.0.put(())?;
    signals.1.wait()?;
    Ok((0..count).try_for_each(|n| queue.put(n))?)
}

#[mp::process_fn]
fn consume_share(queue: mp::Queue<u64>, signals: Signals, count: u64) -> Result {
    signals.0.put(())?;
    signals.1.wait()?;
    (0..count).try_for_each(|_| queue.get().map(drop))?;
    Ok(signals.2.put(())?)
}

/// Each of four puts `count`, and each of four gets as many, so that a figure is a fourth of the time.
fn many_queue(count: u64) -> Result<Duration> {
    let (queue, signals) = (mp::Queue::new()?, signals()?);
    let mut members = Vec::new();
    for _ in 0..MEMBERS {
        members.push(child::<produce_share>((
            queue.clone(),
            signals.clone(),
            count,
        ))?);
        members.push(child::<consume_share>((
            queue.clone(),
            signals.clone(),
            count,
        ))?);
    }
    let elapsed = run_members(&signals, 2 * MEMBERS)?;
    members.into_iter().try_for_each(|member| member.join()?)?;
    Ok(elapsed / MEMBERS as u32)
}

#[mp::process_fn]
fn produce_share_ring(path: String, signals: Signals, count: u64) -> Result {
    let ring = Ring::open(&path, Ends::Locked, SLOTS as u64, 8)?;
    signals.0.put(())?;
    signals.1.wait()?;
    (0..count).for_each(|n| ring.send(&n.to_le_bytes()));
    Ok(())
}

#[mp::process_fn]
fn consume_share_ring(path: String, signals: Signals, count: u64) -> Result {
    let ring = Ring::open(&path, Ends::Locked, SLOTS as u64, 8)?;
    signals.0.put(())?;
    signals.1.wait()?;
    (0..count).for_each(|_| ring.receive(&mut [0; 8]));
    Ok(signals.2.put(())?)
}

fn many_ring(count: u64) -> Result<Duration> {
    let (ring, signals) = (Ring::new(Ends::Locked, SLOTS as u64, 8)?, signals()?);
    let mut members = Vec::new();
    for _ in 0..MEMBERS {
        let path = || ring.path().to_owned();
        members.push(child::<produce_share_ring>((
            path(),
            signals.clone(),
            count,
        ))?);
        members.push(child::<consume_share_ring>((
            path(),
            signals.clone(),
            count,
        ))?);
    }
    let elapsed = run_members(&signals, 2 * MEMBERS)?;
    members.into_iter().try_for_each(|member| member.join()?)?;
    Ok(elapsed / MEMBERS as u32)
}

fn many_crossbeam(count: u64) -> Result<Duration> {
    let (sender, receiver) = crossbeam_channel::unbounded();
    let elapsed = time(|| {
        std::thread::scope(|scope| {
            for _ in 0..MEMBERS {
                scope.spawn(|| (0..count).try_for_each(|n| sender.send(n)));
                scope.spawn(|| (0..count).try_for_each(|_| receiver.recv().map(drop)));
            }
        });
        Ok(())
    })?;
    Ok(elapsed / MEMBERS as u32)
}
