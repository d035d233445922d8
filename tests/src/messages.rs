//! Any bytes in the place of a message.
//!
//! [`decode`] is what the fuzzer runs (`tests/fuzz`) and what `tests/tests/wire_fuzz.rs` runs in the usual suite.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Debug, Write};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::time::Duration;

use mp::__private::fuzzing;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Decodes a message made of `input`, uses what comes of it, and drops it.
///
/// The first byte chooses the type that is wanted. The second chooses whether the rest is the message, or says how a real one
/// is changed, which may be of another type. Nothing but a value or an error may come of it: whatever else happens ends the
/// process, as a panic does, or a change of what the arena holds.
pub fn decode(input: &[u8]) {
    let [wanted, source, rest @ ..] = input else {
        return;
    };
    let forms = forms();
    let before = mp::arena_stats().expect("the arena is there");
    let wanted = &forms[usize::from(*wanted) % forms.len()];
    if *source < 128 {
        let null = || File::open("/dev/null").expect("opening /dev/null").into();
        let fds = (0..source % 4).map(|_| null()).collect();
        (wanted.decode)(rest, fds);
    } else {
        let real = &forms[usize::from(*source - 128) % forms.len()];
        let fds = real
            .fds
            .iter()
            .map(|fd| fd.try_clone().expect("duplicating"));
        (wanted.decode)(&changed(real.bytes.clone(), rest), fds.collect());
    }
    assert_eq!(
        mp::arena_stats().expect("the arena is there"),
        before,
        "decoding a message as {} changed what the arena holds",
        wanted.name
    );
}

/// Decodes each real message as its own type.
pub fn decode_real() {
    for form in forms() {
        let fds = form
            .fds
            .iter()
            .map(|fd| fd.try_clone().expect("duplicating"));
        assert!((form.decode)(&form.bytes, fds.collect()), "{}", form.name);
    }
}

/// How many types of messages there are.
pub fn number_of_types() -> usize {
    forms().len()
}

/// A type of messages, and a real one.
struct Form {
    name: &'static str,
    /// Decodes a message, and uses and drops the value; tells whether there was one.
    decode: fn(&[u8], Vec<OwnedFd>) -> bool,
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
    /// Keeps alive what the message names.
    _value: Box<dyn Any + Send + Sync>,
}

impl Form {
    fn of<T>(value: T) -> Self
    where
        T: Serialize + DeserializeOwned + Debug + Send + Sync + 'static,
    {
        let (bytes, fds) = fuzzing::encode(&value).expect("encoding");
        Self {
            name: std::any::type_name::<T>(),
            decode: |bytes, fds| {
                let value = fuzzing::decode::<T>(bytes, fds);
                // Looks at all of it.
                write!(Nowhere, "{value:?}").expect("nothing is written");
                value.is_ok()
            },
            bytes,
            fds,
            _value: Box::new(value),
        }
    }

    /// The arguments of [`borrow`], which come one after the other as those of a tuple do.
    fn of_arguments<T: Serialize + Send + Sync + 'static>(arguments: T) -> Self {
        let (bytes, fds) = fuzzing::encode(&arguments).expect("encoding");
        Self {
            name: "arguments",
            decode: |bytes, fds| fuzzing::call(BORROW, bytes, fds),
            bytes,
            fds,
            _value: Box::new(arguments),
        }
    }
}

struct Nowhere;

impl Write for Nowhere {
    fn write_str(&mut self, _text: &str) -> fmt::Result {
        Ok(())
    }
}

/// Changes a message: each three bytes say how, where, and to what.
fn changed(mut message: Vec<u8>, changes: &[u8]) -> Vec<u8> {
    for change in changes.chunks_exact(3) {
        let &[how, place, byte] = change else { break };
        let place = usize::from(place) % (message.len() + 1);
        match (how % 4, message.get_mut(place)) {
            (0, Some(there)) => *there = byte,
            (1, Some(there)) => *there = there.wrapping_add(byte),
            (2, Some(_)) => drop(message.remove(place)),
            (3, Some(_)) if byte == 0 => message.truncate(place),
            _ => message.insert(place, byte),
        }
    }
    message
}

const BORROW: &str = "multiproc_tests.borrow";

/// Takes arguments that lie in the message.
#[mp::process_fn(name = "multiproc_tests.borrow")]
pub fn borrow(text: &str, bytes: &[u8], lock: mp::Lock, more: Vec<Option<String>>) -> usize {
    let held = lock.try_lock().is_ok();
    text.chars().count() + bytes.len() + more.len() + usize::from(held)
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Choice {
    Nothing,
    One(u32),
    Pair(i64, String),
    Fields {
        name: String,
        values: Vec<f64>,
        inner: Option<Box<Choice>>,
    },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Nested {
    choices: Vec<Choice>,
    by_name: HashMap<String, Vec<Option<u16>>>,
    in_order: BTreeMap<(i8, char), Result<bool, Choice>>,
    wide: (u128, i128, f32, [u8; 3], Duration),
    units: Vec<()>,
}

/// All handles in one message.
#[derive(Debug, Serialize, Deserialize)]
struct Handles {
    queue: mp::Queue<Option<mp::Value<u32>>>,
    tasks: mp::JoinableQueue<String>,
    locks: (mp::Lock, mp::RLock),
    permits: (mp::Semaphore, mp::BoundedSemaphore),
    meeting: Vec<(mp::Condition, mp::Event, mp::Barrier)>,
    data: (mp::Value<u64>, mp::Array<f64>),
    counts: HashMap<u8, mp::Atomic<i32>>,
    shared: Option<(mp::Shared<[u32]>, mp::Shared<u64>)>,
    ends: (mp::Connection<u8, String>, mp::Sender<u8>, mp::Receiver<u8>),
    file: mp::Fd<File>,
}

fn forms() -> &'static [Form] {
    static FORMS: OnceLock<Vec<Form>> = OnceLock::new();
    FORMS.get_or_init(|| make_forms().expect("making objects"))
}

fn make_forms() -> mp::Result<Vec<Form>> {
    let choice = Choice::Fields {
        name: "a name".to_owned(),
        values: vec![1.5, f64::NAN],
        inner: Some(Box::new(Choice::Pair(-7, "ü".to_owned()))),
    };
    let nested = Nested {
        choices: vec![Choice::Nothing, Choice::One(300), choice.clone()],
        by_name: HashMap::from([("key".to_owned(), vec![None, Some(1000)])]),
        in_order: BTreeMap::from([((-1, 'x'), Ok(true)), ((2, 'ß'), Err(Choice::Nothing))]),
        wide: (1 << 100, -1 << 99, 0.5, [1, 2, 3], Duration::from_millis(5)),
        units: vec![(); 5],
    };
    let file = || mp::Fd::new(File::open("/dev/null").expect("opening /dev/null"));
    let ((pipe, other_end), (tx, rx)) = (mp::pipe::<u8, String>()?, mp::channel::<u8>()?);
    let handles = Handles {
        queue: mp::Queue::new()?,
        tasks: mp::JoinableQueue::bounded(3)?,
        locks: (mp::Lock::new()?, mp::RLock::new()?),
        permits: (mp::Semaphore::new(2)?, mp::BoundedSemaphore::new(1)?),
        meeting: vec![(
            mp::Condition::new()?,
            mp::Event::new()?,
            mp::Barrier::new(2)?,
        )],
        data: (mp::Value::new(1)?, mp::Array::zeroed(3)?),
        counts: HashMap::from([(7, mp::Atomic::new(5)?)]),
        shared: Some((mp::Shared::from_slice(&[1, 2])?, mp::Shared::new(3)?)),
        ends: (pipe, tx, rx),
        file: file(),
    };
    let json = mp::Json(serde_json::json!({ "a": [1, null, { "b": "c" }] }));
    let remote = mp::RemoteError::msg("no tea");
    Ok(vec![
        Form::of(handles),
        Form::of(mp::Queue::<u8>::new()?),
        Form::of(mp::JoinableQueue::<u8>::new()?),
        Form::of(mp::Lock::new()?),
        Form::of(mp::RLock::new()?),
        Form::of(mp::Semaphore::new(1)?),
        Form::of(mp::BoundedSemaphore::new(1)?),
        Form::of(mp::Condition::new()?),
        Form::of(mp::Event::new()?),
        Form::of(mp::Barrier::new(3)?),
        Form::of(mp::Value::new(9_u32)?),
        Form::of(mp::Array::from_slice(&[1_u16, 2])?),
        Form::of(mp::Atomic::new(true)?),
        Form::of(mp::Shared::from_slice(&[1_u8, 2])?),
        Form::of(mp::Shared::new([1.5_f32; 2])?),
        Form::of(other_end),
        Form::of(file()),
        Form::of(vec![file(), file()]),
        Form::of(choice),
        Form::of(nested),
        Form::of(vec![Some("text".to_owned()), None]),
        Form::of(vec![(1_u8, vec![2.5_f64]), (3, vec![])]),
        Form::of(json),
        Form::of(remote),
        Form::of_arguments((
            "text",
            [1_u8, 2].as_slice(),
            mp::Lock::new()?,
            vec![Some("more"), None],
        )),
    ])
}
