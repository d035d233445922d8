//! iceoryx2, between two processes that `mp` started; with the feature `iceoryx2` only.

#[cfg(feature = "iceoryx2")]
pub use measured::{bytes, events, make_node, numbers, ping_pong};
#[cfg(not(feature = "iceoryx2"))]
pub use not_measured::{bytes, events, make_node, numbers, ping_pong};

#[cfg(not(feature = "iceoryx2"))]
mod not_measured {
    use crate::Rival;

    const WHY: &str = "build with `--features iceoryx2`";

    /// One to one, numbers.
    pub fn numbers() -> Rival<'static> {
        Err(WHY)
    }

    /// One to one, bytes.
    pub fn bytes(_length: usize, _slots: usize) -> Rival<'static> {
        Err(WHY)
    }

    /// There and back, numbers.
    pub fn ping_pong() -> Rival<'static> {
        Err(WHY)
    }

    /// There and back, events.
    pub fn events() -> Rival<'static> {
        Err(WHY)
    }

    /// A node, before anything is in it.
    pub fn make_node() -> Rival<'static> {
        Err(WHY)
    }
}

#[cfg(feature = "iceoryx2")]
mod measured {
    use std::fmt::Debug;
    use std::sync::atomic::{AtomicU64, Ordering};

    use iceoryx2::port::{publisher::Publisher, subscriber::Subscriber};
    use iceoryx2::prelude::*;
    use iceoryx2::sample::Sample;
    use iceoryx2::service::port_factory::{event, publish_subscribe};

    use crate::machine::Patience;
    use crate::{Result, Rival, child, expect, repeat, time};

    type Topic<T> = publish_subscribe::PortFactory<ipc::Service, T, ()>;

    /// How many numbers a subscriber has room for.
    const SLOTS: usize = 1024;

    /// That the two know each other: before, what a publisher has no room for is lost. And that all has come: the messages
    /// lie in a memory of the publisher.
    type Signals = (mp::Event, mp::Event);

    fn signals() -> Result<Signals> {
        Ok((mp::Event::new()?, mp::Event::new()?))
    }

    fn node() -> Result<Node<ipc::Service>> {
        set_log_level(LogLevel::Error);
        let builder = NodeBuilder::new().signal_handling_mode(SignalHandlingMode::Disabled);
        Ok(builder.create()?)
    }

    /// A name that no other round has.
    fn unique_name() -> String {
        static ROUND: AtomicU64 = AtomicU64::new(0);
        let round = ROUND.fetch_add(1, Ordering::Relaxed);
        format!("mp-benches/{}/{round}", std::process::id())
    }

    fn topic<T>(node: &Node<ipc::Service>, name: &str, slots: usize) -> Result<Topic<T>>
    where
        T: Debug + ZeroCopySend,
    {
        Ok(node
            .service_builder(&name.try_into()?)
            .publish_subscribe::<T>()
            .enable_safe_overflow(false)
            .subscriber_max_buffer_size(slots)
            .open_or_create()?)
    }

    fn slices(node: &Node<ipc::Service>, name: &str, slots: usize) -> Result<Topic<[u8]>> {
        Ok(node
            .service_builder(&name.try_into()?)
            .publish_subscribe::<[u8]>()
            .enable_safe_overflow(false)
            .subscriber_max_buffer_size(slots)
            .open_or_create()?)
    }

    fn publisher<T>(topic: &Topic<T>) -> Result<Publisher<ipc::Service, T, ()>>
    where
        T: Debug + ZeroCopySend,
    {
        Ok(topic
            .publisher_builder()
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()?)
    }

    /// Polls until something comes.
    fn receive(
        subscriber: &Subscriber<ipc::Service, u64, ()>,
    ) -> Result<Sample<ipc::Service, u64, ()>> {
        let mut patience = Patience::default();
        loop {
            if let Some(sample) = subscriber.receive()? {
                return Ok(sample);
            }
            patience.wait();
        }
    }

    #[mp::process_fn]
    fn iceoryx_produce(name: String, count: u64, (connected, received): Signals) -> Result {
        let node = node()?;
        let topic = topic(&node, &name, SLOTS)?;
        let publisher = publisher(&topic)?;
        publisher.send_copy(0)?;
        connected.wait()?;
        for n in 1..=count {
            publisher.send_copy(n)?;
        }
        Ok(received.wait()?)
    }

    /// One to one, numbers.
    pub fn numbers() -> Rival<'static> {
        Ok(Box::new(|count| {
            let (name, signals) = (unique_name(), signals()?);
            let node = node()?;
            let topic = topic(&node, &name, SLOTS)?;
            let subscriber = topic.subscriber_builder().buffer_size(SLOTS).create()?;
            let producer = child::<iceoryx_produce>((name, count, signals.clone()))?;
            receive(&subscriber)?;
            signals.0.set();
            let elapsed = time(|| (1..=count).try_for_each(|n| expect(*receive(&subscriber)?, n)))?;
            signals.1.set();
            producer.join()??;
            Ok(elapsed)
        }))
    }

    #[mp::process_fn]
    fn iceoryx_produce_bytes(
        name: String,
        count: u64,
        length: usize,
        slots: usize,
        (connected, received): Signals,
    ) -> Result {
        let node = node()?;
        let topic = slices(&node, &name, slots)?;
        let publisher = topic
            .publisher_builder()
            .initial_max_slice_len(length)
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()?;
        let message = vec![7; length];
        for n in 0..=count {
            let sample = publisher.loan_slice_uninit(length)?;
            sample.write_from_slice(&message).send()?;
            if n == 0 {
                connected.wait()?;
            }
        }
        Ok(received.wait()?)
    }

    /// One to one, bytes, copied in and out.
    pub fn bytes(length: usize, slots: usize) -> Rival<'static> {
        Ok(Box::new(move |count| {
            let (name, signals) = (unique_name(), signals()?);
            let node = node()?;
            let topic = slices(&node, &name, slots)?;
            let subscriber = topic.subscriber_builder().buffer_size(slots).create()?;
            let producer =
                child::<iceoryx_produce_bytes>((name, count, length, slots, signals.clone()))?;
            let mut message = vec![0; length];
            let mut once = || {
                let mut patience = Patience::default();
                loop {
                    if let Some(sample) = subscriber.receive()? {
                        message.copy_from_slice(&sample);
                        return expect(message[length - 1], 7);
                    }
                    patience.wait();
                }
            };
            once()?;
            signals.0.set();
            let elapsed = repeat(count, once)?;
            signals.1.set();
            producer.join()??;
            Ok(elapsed)
        }))
    }

    #[mp::process_fn]
    fn iceoryx_echo(there: String, back: String, count: u64, (ready, received): Signals) -> Result {
        let node = node()?;
        let (there, back) = (topic::<u64>(&node, &there, 2)?, topic(&node, &back, 2)?);
        let questions = there.subscriber_builder().create()?;
        let answers = publisher(&back)?;
        ready.set();
        for _ in 0..count {
            answers.send_copy(*receive(&questions)?)?;
        }
        Ok(received.wait()?)
    }

    /// There and back, numbers.
    pub fn ping_pong() -> Rival<'static> {
        Ok(Box::new(|count| {
            let names = (unique_name(), unique_name());
            let signals = signals()?;
            let node = node()?;
            let there = topic(&node, &names.0, 2)?;
            let back = topic::<u64>(&node, &names.1, 2)?;
            let (ask, hear) = (publisher(&there)?, back.subscriber_builder().create()?);
            let args = (names.0, names.1, count, signals.clone());
            let echo = child::<iceoryx_echo>(args)?;
            signals.0.wait()?;
            let elapsed = time(|| {
                (0..count).try_for_each(|n| {
                    ask.send_copy(n)?;
                    expect(*receive(&hear)?, n)
                })
            })?;
            signals.1.set();
            echo.join()??;
            Ok(elapsed)
        }))
    }

    fn bell(node: &Node<ipc::Service>, name: &str) -> Result<event::PortFactory<ipc::Service>> {
        let builder = node.service_builder(&name.try_into()?);
        Ok(builder.event().open_or_create()?)
    }

    #[mp::process_fn]
    fn iceoryx_echo_events(
        there: String,
        back: String,
        count: u64,
        (ready, received): Signals,
    ) -> Result {
        let node = node()?;
        let (there, back) = (bell(&node, &there)?, bell(&node, &back)?);
        let listener = there.listener_builder().create()?;
        let notifier = back.notifier_builder().create()?;
        ready.set();
        for _ in 0..count {
            listener.blocking_wait(|_| {})?;
            notifier.notify()?;
        }
        Ok(received.wait()?)
    }

    /// There and back, events.
    pub fn events() -> Rival<'static> {
        Ok(Box::new(|count| {
            let names = (unique_name(), unique_name());
            let signals = signals()?;
            let node = node()?;
            let (there, back) = (bell(&node, &names.0)?, bell(&node, &names.1)?);
            let listener = back.listener_builder().create()?;
            let args = (names.0, names.1, count, signals.clone());
            let echo = child::<iceoryx_echo_events>(args)?;
            signals.0.wait()?;
            let notifier = there.notifier_builder().create()?;
            let elapsed = repeat(count, || {
                notifier.notify()?;
                listener.blocking_wait(|_| {})?;
                Ok(())
            })?;
            signals.1.set();
            echo.join()??;
            Ok(elapsed)
        }))
    }

    /// A node, before anything is in it.
    pub fn make_node() -> Rival<'static> {
        Ok(Box::new(|count| {
            repeat(count, || {
                drop(node()?);
                Ok(())
            })
        }))
    }
}
