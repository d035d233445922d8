//! `ipc-channel`, between two processes that `mp` started.

use ipc_channel::ipc::{self, IpcBytesReceiver, IpcOneShotServer, IpcReceiver, IpcSender};

use crate::{Result, Rival, child, expect, repeat, sum, time};

/// What a server sends first: how to ask it, and where it answers.
type Service<Q, A> = (IpcSender<Q>, IpcReceiver<A>);

#[mp::process_fn]
fn ipc_produce(name: String, count: u64) -> Result {
    let sender = IpcSender::connect(name)?;
    Ok((0..=count).try_for_each(|n| sender.send(n))?)
}

/// One to one, numbers.
pub fn numbers() -> Rival<'static> {
    Ok(Box::new(|count| {
        let (server, name) = IpcOneShotServer::<u64>::new()?;
        let producer = child::<ipc_produce>((name, count))?;
        let (receiver, _first) = server.accept()?;
        let elapsed = time(|| (1..=count).try_for_each(|n| expect(receiver.recv()?, n)))?;
        producer.join()??;
        Ok(elapsed)
    }))
}

#[mp::process_fn]
fn ipc_produce_bytes(name: String, count: u64, length: usize) -> Result {
    let (sender, receiver) = ipc::bytes_channel()?;
    IpcSender::<IpcBytesReceiver>::connect(name)?.send(receiver)?;
    let message = vec![7; length];
    Ok((0..=count).try_for_each(|_| sender.send(&message))?)
}

/// One to one, bytes: its channel for bytes, which is ten times as fast as its `Vec<u8>`.
pub fn bytes(length: usize) -> Rival<'static> {
    Ok(Box::new(move |count| {
        let (server, name) = IpcOneShotServer::<IpcBytesReceiver>::new()?;
        let producer = child::<ipc_produce_bytes>((name, count, length))?;
        let (_server, receiver) = server.accept()?;
        receiver.recv()?;
        let elapsed = repeat(count, || expect(receiver.recv()?.len(), length))?;
        producer.join()??;
        Ok(elapsed)
    }))
}

#[mp::process_fn]
fn ipc_echo(name: String, count: u64) -> Result {
    let (ask, questions) = ipc::channel::<u64>()?;
    let (answers, hear) = ipc::channel::<u64>()?;
    IpcSender::<Service<u64, u64>>::connect(name)?.send((ask, hear))?;
    for _ in 0..count {
        answers.send(questions.recv()?)?;
    }
    Ok(())
}

/// There and back, numbers.
pub fn ping_pong() -> Rival<'static> {
    Ok(Box::new(|count| {
        let (server, name) = IpcOneShotServer::<Service<u64, u64>>::new()?;
        let echo = child::<ipc_echo>((name, count))?;
        let (_server, (ask, hear)) = server.accept()?;
        let elapsed = time(|| {
            (0..count).try_for_each(|n| {
                ask.send(n)?;
                expect(hear.recv()?, n)
            })
        })?;
        echo.join()??;
        Ok(elapsed)
    }))
}

#[mp::process_fn]
fn ipc_sum(name: String, count: u64) -> Result {
    let (ask, questions) = ipc::channel::<Vec<f64>>()?;
    let (answers, hear) = ipc::channel::<f64>()?;
    IpcSender::<Service<Vec<f64>, f64>>::connect(name)?.send((ask, hear))?;
    for _ in 0..count {
        answers.send(sum(&questions.recv()?))?;
    }
    Ok(())
}

/// Numbers there, their sum back. What is sent has to be owned: the copy counts.
pub fn hand_over(numbers: &[f64]) -> Rival<'_> {
    let total = sum(numbers);
    Ok(Box::new(move |count| {
        let (server, name) = IpcOneShotServer::<Service<Vec<f64>, f64>>::new()?;
        let worker = child::<ipc_sum>((name, count + 1))?;
        let (_server, (ask, hear)) = server.accept()?;
        let once = || {
            ask.send(numbers.to_vec())?;
            expect(hear.recv()?, total)
        };
        once()?;
        let elapsed = repeat(count, once)?;
        worker.join()??;
        Ok(elapsed)
    }))
}
