//! Arguments and values of each kind and size, by each start method.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::num::NonZeroU8;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mp::{Error, Json, ProcessError, Ran, RemoteError, StartMethod};
use multiproc_tests::leaks::nothing;
use multiproc_tests::methods;
use multiproc_tests::methods::{by, failure, start, value};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

methods! {
    bytes_of_each_size_cross_in_both_directions,
    text_is_borrowed_where_it_arrives,
    structures_are_borrowed_where_they_arrive,
    many_arguments_keep_their_order,
    values_of_all_kinds_come_back_as_they_were,
    much_in_small_pieces_crosses,
    large_arguments_are_held_by_many_at_once,
    results_cross_as_they_are,
    remote_errors_keep_their_message_type_and_sources,
    an_argument_that_cannot_be_encoded_starts_nothing,
    an_argument_that_cannot_be_decoded_is_told,
    a_value_that_cannot_be_encoded_is_told,
    a_value_that_cannot_be_decoded_is_told,
    async_functions_run,
    async_functions_run_though_their_parent_is_in_a_runtime,
}

/// Bytes of which each has something to do with its place.
fn pattern(length: usize) -> Vec<u8> {
    let byte = |index: usize| (index * 31 + index / 251) as u8;
    (0..length).map(byte).collect()
}

#[mp::process_fn]
fn reversed(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().rev().copied().collect()
}

fn bytes_of_each_size_cross_in_both_directions(method: StartMethod) {
    let mut sizes: Vec<usize> = vec![0, 20_000_000];
    for power in [1, 64, 256, 4096, 65_536, 1 << 20] {
        sizes.extend([power - 1, power, power + 1]);
    }
    for size in sizes {
        let bytes = pattern(size);
        let mut back = value::<reversed>(method, &bytes);
        back.reverse();
        assert!(back == bytes, "{size} bytes");
    }
}

#[mp::process_fn]
fn words<'a>(text: &'a str, path: &Path, either: Cow<'a, str>) -> (usize, String, PathBuf, String) {
    (
        text.split_whitespace().count(),
        text.to_uppercase(),
        path.join("below"),
        either.into_owned(),
    )
}

fn text_is_borrowed_where_it_arrives(method: StartMethod) {
    for text in [
        "",
        " ",
        "to be or not",
        "naïve Straße 漢字 🦀",
        "a\0b\nc\r\n",
    ] {
        let owned = text.to_owned();
        let (count, upper, path, either) =
            value::<words>(method, (&owned, Path::new(text), Cow::Borrowed(text)));
        assert_eq!(count, text.split_whitespace().count());
        assert_eq!((upper, either.as_str()), (text.to_uppercase(), text));
        assert_eq!(path, Path::new(text).join("below"));
    }
}

#[derive(Serialize, Deserialize)]
struct Borrowing<'a> {
    name: &'a str,
    bytes: &'a [u8],
    #[serde(borrow)]
    rest: Option<Box<Borrowing<'a>>>,
}

#[mp::process_fn]
fn depth(of: Borrowing<'_>, at: (u8, String)) -> (usize, usize, usize) {
    let (mut depth, mut names, mut bytes) = (1, of.name.len(), of.bytes.len());
    let mut next = of.rest;
    while let Some(of) = next {
        depth += 1;
        names += of.name.len();
        bytes += of.bytes.len();
        next = of.rest;
    }
    (depth, names + at.1.len(), bytes + usize::from(at.0))
}

fn structures_are_borrowed_where_they_arrive(method: StartMethod) {
    let (name, bytes) = ("name".repeat(100), pattern(1000));
    let make = |rest| Borrowing {
        name: &name,
        bytes: &bytes,
        rest,
    };
    let mut of = make(None);
    for _ in 0..9 {
        of = make(Some(Box::new(of)));
    }
    let at = (1, "one".to_owned());
    assert_eq!(value::<depth>(method, (of, at)), (10, 4003, 10_001));
}

#[mp::process_fn]
#[expect(clippy::too_many_arguments, reason = "that is the point")]
fn joined(
    a: u8,
    b: i8,
    c: char,
    d: &str,
    e: String,
    f: bool,
    g: (),
    h: f32,
    i: u128,
    j: Option<u8>,
    k: [u16; 2],
    l: &[u8],
) -> String {
    format!("{a} {b} {c} {d} {e} {f} {g:?} {h} {i} {j:?} {k:?} {l:?}")
}

fn many_arguments_keep_their_order(method: StartMethod) {
    let text = value::<joined>(
        method,
        (
            1,
            -1,
            'ß',
            "d",
            "e".to_owned(),
            true,
            (),
            0.5,
            u128::MAX,
            None,
            [7, 8],
            b"l",
        ),
    );
    let expected = format!("1 -1 ß d e true () 0.5 {} None [7, 8] [108]", u128::MAX);
    assert_eq!(text, expected);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Kind {
    Unit,
    New(Box<Kind>),
    Tuple(u8, String),
    Struct { a: Option<()>, b: Vec<Kind> },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Zoo {
    unit: Unit,
    kinds: Vec<Kind>,
    map: BTreeMap<String, HashMap<u8, Vec<char>>>,
    numbers: (i8, u16, i64, i128, NonZeroU8),
    floats: [f64; 4],
    times: Vec<Duration>,
    json: Json<serde_json::Value>,
    outcome: Result<u8, String>,
    nested: Option<Option<Option<u8>>>,
}

#[mp::process_fn]
fn zoo(given: Zoo, times: usize) -> Vec<Zoo> {
    vec![given; times]
}

fn values_of_all_kinds_come_back_as_they_were(method: StartMethod) {
    let tree = Kind::Struct {
        a: Some(()),
        b: vec![Kind::Unit, Kind::New(Box::new(Kind::Tuple(1, "x".into())))],
    };
    let given = Zoo {
        unit: Unit,
        kinds: vec![Kind::Unit, tree],
        map: [("a".to_owned(), [(1, vec!['x', '\0', '🦀'])].into())].into(),
        numbers: (i8::MIN, u16::MAX, i64::MIN, i128::MIN, NonZeroU8::MAX),
        floats: [f64::MIN_POSITIVE, -0.0, f64::INFINITY, f64::MAX],
        times: vec![Duration::ZERO, Duration::MAX],
        json: Json(serde_json::json!({"a": [1, null, "x"], "b": {}})),
        outcome: Err("no".to_owned()),
        nested: Some(Some(None)),
    };
    for times in [0, 1, 3] {
        let back = value::<zoo>(method, (given.clone(), times));
        assert_eq!(back, vec![given.clone(); times]);
        let bits = |zoo: &Zoo| zoo.floats.map(f64::to_bits);
        assert!(
            back.iter().all(|zoo| bits(zoo) == bits(&given)),
            "−0.0 is not 0.0"
        );
    }
    value::<nothing>(method, ());
}

#[mp::process_fn]
fn lengths(words: Vec<String>, table: HashMap<u32, String>) -> (Vec<usize>, BTreeMap<u32, String>) {
    (
        words.iter().map(String::len).collect(),
        table.into_iter().collect(),
    )
}

fn much_in_small_pieces_crosses(method: StartMethod) {
    let words: Vec<String> = (0..100_000).map(|n: u32| n.to_string()).collect();
    let table: HashMap<u32, String> = (0..10_000).map(|n| (n, n.to_string())).collect();
    let (lengths, back) = value::<lengths>(method, (words.clone(), table.clone()));
    assert!(
        lengths
            .iter()
            .eq(words.iter().map(String::len).collect::<Vec<_>>().iter())
    );
    assert!(back == table.into_iter().collect());
}

#[mp::process_fn]
fn sum(bytes: &[u8], go: mp::Event) -> u64 {
    go.wait().unwrap();
    bytes.iter().map(|byte| u64::from(*byte)).sum()
}

/// They wait in shared memory together, and each is what it was at its own start.
fn large_arguments_are_held_by_many_at_once(method: StartMethod) {
    let go = mp::Event::new().unwrap();
    let mut bytes = vec![0; 4 << 20];
    let mut processes = Vec::new();
    for number in 0..6 {
        bytes.fill(number);
        processes.push(start::<sum>(method, (&bytes, go.clone())));
    }
    bytes.fill(255);
    go.set();
    for (number, process) in (0..).zip(processes) {
        assert_eq!(process.join().unwrap(), number << 22);
    }
}

#[mp::process_fn]
fn divide(a: i32, b: i32) -> Result<i32, (String, u8)> {
    a.checked_div(b).ok_or_else(|| ("no".repeat(1000), 7))
}

fn results_cross_as_they_are(method: StartMethod) {
    assert_eq!(value::<divide>(method, (8, 2)), Ok(4));
    assert_eq!(value::<divide>(method, (8, 0)), Err(("no".repeat(1000), 7)));
    let process = start::<divide>(method, (8, 0));
    assert_eq!(process.wait().code(), Some(0), "an error is a value");
    process.join().unwrap().unwrap_err();
}

#[derive(Debug)]
struct Outer(std::num::ParseIntError);

impl std::fmt::Display for Outer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no number")
    }
}

impl std::error::Error for Outer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[mp::process_fn]
fn parse(text: &str) -> Result<u8, RemoteError> {
    Ok(text.parse().map_err(Outer)?)
}

fn remote_errors_keep_their_message_type_and_sources(method: StartMethod) {
    assert_eq!(value::<parse>(method, "7").unwrap(), 7);
    let error = value::<parse>(method, "seven").unwrap_err();
    assert_eq!(error.message(), "no number");
    assert!(error.type_name().contains("Outer"), "{error:?}");
    let chain: Vec<_> = error.chain().collect();
    assert_eq!(chain, ["no number", "invalid digit found in string"]);
}

/// Refuses to become bytes, or to be made of them.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Refuses {
    encoding: bool,
}

impl Serialize for Refuses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.encoding {
            return Err(ser::Error::custom("it will not be bytes"));
        }
        serializer.serialize_u8(7)
    }
}

impl<'de> Deserialize<'de> for Refuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u8::deserialize(deserializer)?;
        Err(de::Error::custom("it will not be made"))
    }
}

type Handles = (mp::Queue<String>, mp::Lock);

fn handles() -> Handles {
    let queue = mp::Queue::new().unwrap();
    queue.put("item".repeat(1000)).unwrap();
    (queue, mp::Lock::new().unwrap())
}

#[mp::process_fn]
fn take(before: Handles, _refusing: Refuses, after: Handles) {
    unreachable!("{before:?} {after:?}");
}

#[mp::process_fn]
fn give(encoding: bool) -> (Handles, Refuses) {
    (handles(), Refuses { encoding })
}

fn an_argument_that_cannot_be_encoded_starts_nothing(method: StartMethod) {
    let refusing = Refuses { encoding: true };
    let error = by(method)
        .spawn::<take>((handles(), refusing, handles()))
        .unwrap_err();
    assert!(matches!(error, Error::Encode(_)), "{error:?}");
    for words in [
        "`_refusing`",
        "method_values::take",
        "Refuses",
        "it will not be bytes",
    ] {
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
    assert_eq!(mp::active_children().len(), 0);
}

#[track_caller]
fn tells(error: &ProcessError, ran: Ran, pid: u32, words: &[&str]) {
    assert_eq!((error.ran(), error.subject().pid), (ran, pid), "{error}");
    for words in words {
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
}

fn an_argument_that_cannot_be_decoded_is_told(method: StartMethod) {
    let refusing = Refuses { encoding: false };
    let process = start::<take>(method, (handles(), refusing, handles()));
    let pid = process.id();
    let error = process.join().unwrap_err();
    assert!(matches!(error, ProcessError::Decode { .. }), "{error:?}");
    tells(
        &error,
        Ran::No,
        pid,
        &["`_refusing`", "method_values::take", "it will not be made"],
    );
}

fn a_value_that_cannot_be_encoded_is_told(method: StartMethod) {
    let process = start::<give>(method, true);
    let pid = process.id();
    let error = process.join().unwrap_err();
    assert!(matches!(error, ProcessError::Encode { .. }), "{error:?}");
    tells(
        &error,
        Ran::Yes,
        pid,
        &["method_values::give", "it will not be bytes"],
    );
}

fn a_value_that_cannot_be_decoded_is_told(method: StartMethod) {
    let process = start::<give>(method, false);
    let pid = process.id();
    let error = process.join().unwrap_err();
    assert!(matches!(error, ProcessError::Decode { .. }), "{error:?}");
    tells(
        &error,
        Ran::Yes,
        pid,
        &["method_values::give", "it will not be made"],
    );
}

/// Its runtime is its own: threads of it are not there before.
#[mp::process_fn(runtime = "tokio")]
async fn summed(numbers: Vec<u64>) -> u64 {
    let tasks: Vec<_> = numbers
        .into_iter()
        .map(|number| tokio::spawn(async move { number * 2 }))
        .collect();
    let mut sum = 0;
    for task in tasks {
        sum += task.await.expect("it does not panic");
    }
    sum
}

fn async_functions_run(method: StartMethod) {
    for _ in 0..2 {
        assert_eq!(value::<summed>(method, (0..100).collect()), 9900);
    }
    let error = failure::<fails_later>(method, ());
    let ProcessError::Panicked(panic) = &error else {
        panic!("{error:?}")
    };
    assert_eq!(panic.message(), "in an async function");
}

#[mp::process_fn(runtime = "tokio")]
async fn fails_later() -> u8 {
    tokio::task::yield_now().await;
    panic!("in an async function");
}

fn async_functions_run_though_their_parent_is_in_a_runtime(method: StartMethod) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.build().unwrap();
    let sum = runtime.block_on(async {
        tokio::task::yield_now().await;
        value::<summed>(method, (0..100).collect())
    });
    assert_eq!(sum, 9900);
}
