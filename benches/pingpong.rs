//! There and back between two processes, each waiting for the other.
//!
//! `cargo run --release -p multiproc-benches --bin pingpong [FILTER …]`

use std::time::Duration;

use benches::machine::{Waiting, word};
use benches::rivals::{iceoryx, ipc, python};
use benches::{Bench, Cores, Result, child, expect, repeat, round_trips};

/// So long nothing comes before a message to a sleeper: whoever polls for less is asleep then.
const ASLEEP: Duration = Duration::from_micros(500);

#[mp::main]
fn main() -> Result {
    let bench = Bench::new("pingpong");
    messages(&bench)?;
    to_a_sleeper(&bench)?;
    events(&bench)?;
    barriers(&bench)
}

fn messages(bench: &Bench) -> Result {
    for (cores, target) in [(Cores::Free, 1500), (Cores::Same, 6000)] {
        let mut row = bench
            .row("ping-pong of 8 B", cores)
            .with("two mp::Queue", |count| queues(count, Duration::ZERO))
            .with("mp::pipe", pipe)
            .with_rival("ipc-channel", ipc::ping_pong())
            .with_rival("iceoryx2, polling", iceoryx::ping_pong())
            .with("bare word, sched_yield", |count| {
                word(count, Waiting::Yield, Duration::ZERO)
            })
            .with("bare word, futex", |count| {
                word(count, Waiting::Futex, Duration::ZERO)
            });
        if cores == Cores::Free {
            // On one core each would spin until its time is up.
            row = row.with("bare word, spinning", |count| {
                word(count, Waiting::Spin, Duration::ZERO)
            });
        }
        row.with_rival("Python Pipe", python("ping_pong_pipe"))
            .with_rival("Python Queue", python("ping_pong_queue"))
            .at_most(Duration::from_nanos(target))
            .run()?;
    }
    Ok(())
}

fn to_a_sleeper(bench: &Bench) -> Result {
    bench
        .row("ping-pong of 8 B with a sleeper", Cores::Free)
        .with("two mp::Queue", |count| queues(count, ASLEEP))
        .with("bare word, futex", |count| {
            word(count, Waiting::Futex, ASLEEP)
        })
        .at_most_times(1.1, "bare word, futex")
        .run()
}

fn events(bench: &Bench) -> Result {
    for (cores, target) in [(Cores::Free, 1500), (Cores::Same, 6000)] {
        bench
            .row("ping-pong of events", cores)
            .with("two mp::Event", event)
            .with_rival("iceoryx2 events", iceoryx::events())
            .with("bare word, sched_yield", |count| {
                word(count, Waiting::Yield, Duration::ZERO)
            })
            .with("bare word, futex", |count| {
                word(count, Waiting::Futex, Duration::ZERO)
            })
            .with_rival("Python Event", python("ping_pong_event"))
            .at_most(Duration::from_nanos(target))
            .run()?;
    }
    Ok(())
}

fn barriers(bench: &Bench) -> Result {
    for (cores, target) in [(Cores::Free, 3), (Cores::Same, 8)] {
        bench
            .row("rounds of a barrier of two", cores)
            .with("mp::Barrier", barrier)
            .with("bare word, sched_yield", |count| {
                word(count, Waiting::Yield, Duration::ZERO)
            })
            .with("bare word, futex", |count| {
                word(count, Waiting::Futex, Duration::ZERO)
            })
            .with_rival("Python Barrier", python("barrier"))
            .at_most(Duration::from_micros(target))
            .run()?;
    }
    Ok(())
}

#[mp::process_fn]
fn echo_queue(questions: mp::Queue<u64>, answers: mp::Queue<u64>) -> Result {
    for question in &questions {
        answers.put(question)?;
    }
    Ok(())
}

fn queues(count: u64, pause: Duration) -> Result<Duration> {
    let (questions, answers) = (mp::Queue::new()?, mp::Queue::new()?);
    let echo = child::<echo_queue>((questions.clone(), answers.clone()))?;
    questions.put(7)?;
    expect(answers.get()?, 7)?;
    let elapsed = round_trips(count, pause, |n| {
        questions.put(n)?;
        expect(answers.get()?, n)
    })?;
    questions.shutdown()?;
    echo.join()??;
    Ok(elapsed)
}

#[mp::process_fn]
fn echo_pipe(pipe: mp::Connection<u64, u64>) -> Result {
    while let Ok(question) = pipe.recv() {
        pipe.send(question)?;
    }
    Ok(())
}

fn pipe(count: u64) -> Result<Duration> {
    let (ours, theirs) = mp::pipe::<u64, u64>()?;
    let echo = child::<echo_pipe>(theirs)?;
    ours.send(7)?;
    expect(ours.recv()?, 7)?;
    let elapsed = round_trips(count, Duration::ZERO, |n| {
        ours.send(n)?;
        expect(ours.recv()?, n)
    })?;
    drop(ours);
    echo.join()??;
    Ok(elapsed)
}

#[mp::process_fn]
fn echo_event(there: mp::Event, back: mp::Event, count: u64) -> Result {
    for _ in 0..count {
        there.wait()?;
        there.clear();
        back.set();
    }
    Ok(())
}

fn event(count: u64) -> Result<Duration> {
    let (there, back) = (mp::Event::new()?, mp::Event::new()?);
    let echo = child::<echo_event>((there.clone(), back.clone(), count + 1))?;
    let once = || {
        there.set();
        back.wait()?;
        back.clear();
        Ok(())
    };
    once()?;
    let elapsed = repeat(count, once)?;
    echo.join()??;
    Ok(elapsed)
}

#[mp::process_fn]
fn come_and_go(barrier: mp::Barrier, count: u64) -> Result {
    for _ in 0..count {
        barrier.wait()?;
    }
    Ok(())
}

fn barrier(count: u64) -> Result<Duration> {
    let barrier = mp::Barrier::new(2)?;
    let other = child::<come_and_go>((barrier.clone(), count + 1))?;
    let once = || {
        barrier.wait()?;
        Ok(())
    };
    once()?;
    let elapsed = repeat(count, once)?;
    other.join()??;
    Ok(elapsed)
}
