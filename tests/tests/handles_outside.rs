//! Handles where they do not belong, and handles of other types than expected.

mod common_shm;

use mp::{Array, Atomic, DecodeError, Event, Json, Lock, Queue, Shared, TryGetError, Value};
use multiproc_tests::leaks::alone;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[track_caller]
fn is_refused<T: Serialize + DeserializeOwned>(handle: &T, kind: &str) {
    let error = serde_json::to_string(handle).expect_err("it is of use here only");
    let text = error.to_string();
    assert!(text.contains(kind) && text.contains("tree"), "{text}");
    let error = serde_json::from_str::<T>("[12345, 1]")
        .err()
        .expect("it comes from elsewhere");
    let text = error.to_string();
    assert!(text.contains(kind) && text.contains("tree"), "{text}");
}

#[mp::test]
fn handles_do_not_leave_their_tree() {
    alone(|| {
        is_refused(&Queue::<u8>::new().expect("making a queue"), "Queue");
        is_refused(&Lock::new().expect("making a lock"), "Lock");
        is_refused(&Value::new(1).expect("making a value"), "Value");
        is_refused(&Array::<u8>::zeroed(1).expect("making an array"), "Array");
        is_refused(&Event::new().expect("making an event"), "Event");
        is_refused(&Atomic::new(1_u8).expect("making an atomic"), "Atomic");
        is_refused(&Shared::new(1).expect("making a shared"), "Shared");
        let (a, _b) = mp::pipe::<(), ()>().expect("making a pipe");
        let error = serde_json::to_string(&a).expect_err("it is of use here only");
        assert!(error.to_string().contains("connection"), "{error}");
    });
}

#[mp::test]
fn handles_go_through_json_inside_of_messages() {
    alone(|| {
        let queue = Queue::new().expect("making a queue");
        let event = Event::new().expect("making an event");
        queue.put(Json(Some(event.clone()))).expect("putting");
        let Json(same) = queue.get().expect("getting");
        same.expect("there is one").set();
        assert!(event.is_set());
    });
}

/// Is encoded as what it holds, and decoded as something else.
struct As<S, R>(Result<S, R>);

impl<S: Serialize, R> Serialize for As<S, R> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        self.0
            .as_ref()
            .unwrap_or_else(|_| panic!("it has been received"))
            .serialize(serializer)
    }
}

impl<'de, S, R: Deserialize<'de>> Deserialize<'de> for As<S, R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        R::deserialize(deserializer).map(|received| Self(Err(received)))
    }
}

/// Sends an `S` to somebody who expects an `R`.
fn confuse<S: Serialize, R: DeserializeOwned>(sent: S) -> Result<R, DecodeError> {
    let queue = Queue::new().expect("making a queue");
    queue
        .put(As(Ok(sent)))
        .unwrap_or_else(|error| panic!("{error}"));
    match queue.get() {
        Ok(As(Err(received))) => Ok(received),
        Ok(As(Ok(_))) => unreachable!("it was decoded"),
        Err(TryGetError::Decode(error)) => Err(error),
        Err(error) => panic!("{error}"),
    }
}

#[track_caller]
fn is_told_apart<S: Serialize, R: DeserializeOwned>(sent: S) {
    let error = confuse::<S, R>(sent).err().expect("it is something else");
    assert!(error.to_string().contains("is wanted"), "{error}");
}

#[mp::test]
fn handles_of_other_types_are_refused() {
    alone(|| {
        let queue = Queue::<u32>::new().expect("making a queue");
        assert!(confuse::<_, Queue<u32>>(queue.clone()).is_ok());
        is_told_apart::<_, Queue<String>>(queue.clone());
        is_told_apart::<_, Queue<Option<u32>>>(queue.clone());
        is_told_apart::<_, Lock>(queue.clone());
        is_told_apart::<_, Event>(queue.clone());
        is_told_apart::<_, Value<u32>>(queue);
        let value = Value::new(1_u32).expect("making a value");
        assert!(confuse::<_, Value<u32>>(value.clone()).is_ok());
        is_told_apart::<_, Value<i32>>(value.clone());
        is_told_apart::<_, Value<[u8; 4]>>(value.clone());
        is_told_apart::<_, Array<u32>>(value);
        is_told_apart::<_, Array<u64>>(Array::<u8>::zeroed(3).expect("making an array"));
        let atomic = Atomic::new(1_u32).expect("making an atomic");
        assert!(confuse::<_, Atomic<u32>>(atomic.clone()).is_ok());
        is_told_apart::<_, Atomic<i32>>(atomic.clone());
        is_told_apart::<_, Value<u32>>(atomic);
        let shared = Shared::new([1_u8; 2]).expect("making a shared");
        assert!(confuse::<_, Shared<[u8; 2]>>(shared.clone()).is_ok());
        is_told_apart::<_, Shared<[u8]>>(shared.clone());
        is_told_apart::<_, Shared<u16>>(shared);
        is_told_apart::<_, Event>(Lock::new().expect("making a lock"));
        is_told_apart::<_, Lock>(Event::new().expect("making an event"));
    });
}

#[mp::test]
fn what_is_no_handle_is_refused() {
    alone(|| {
        let _something = Queue::<u32>::new().expect("making a queue");
        for place in [0, 1, 16, 63, 64, 80, 4096, 1 << 20, 1 << 40, u64::MAX] {
            for serial in [0, 1, 2, u64::MAX] {
                assert!(confuse::<_, Queue<u32>>((place, serial)).is_err());
                assert!(confuse::<_, Lock>((place, serial)).is_err());
            }
        }
        assert!(confuse::<_, Queue<u32>>("a text".to_owned()).is_err());
    });
}

/// Remembers the bytes that a handle is encoded as.
#[derive(Serialize, Deserialize)]
struct Stale(u64, u64);

#[mp::test]
fn a_handle_of_an_object_that_is_gone_is_refused() {
    alone(|| {
        let queue = Queue::<u32>::new().expect("making a queue");
        let Ok(Stale(place, serial)) = confuse::<_, Stale>(queue.clone()) else {
            panic!("a handle is two numbers");
        };
        assert!(confuse::<_, Queue<u32>>((place, serial)).is_ok());
        drop(queue);
        assert!(confuse::<_, Queue<u32>>((place, serial)).is_err());
        let again: Vec<_> = (0..20)
            .map(|_| Queue::<u32>::new().expect("making a queue"))
            .collect();
        assert!(
            confuse::<_, Queue<u32>>((place, serial)).is_err(),
            "another object in its place is another"
        );
        drop(again);
    });
}
