//! What can be an argument or a value, and what cannot.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::num::ParseIntError;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mp::{Error, Json, ProcessError, Ran};
use multiproc_tests::leaks::{alone, nothing};
use multiproc_tests::watchdog::Watchdog;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u32),
    Text(String),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Tagged {
    Key { code: u32 },
    Closed,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Flat {
    name: String,
    #[serde(flatten)]
    rest: HashMap<String, u32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Skipping {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    number: u32,
}

/// A function that takes a value of a type, and one that returns one, bare and as JSON.
macro_rules! functions {
    ($($type:ty: $take:ident $give:ident $echo:ident;)*) => { $(
        #[mp::process_fn]
        fn $take(number: u32, awkward: $type) -> String {
            format!("{number} {awkward:?}")
        }

        #[mp::process_fn]
        fn $give(text: String) -> $type {
            serde_json::from_str(&text).unwrap()
        }

        #[mp::process_fn]
        fn $echo(awkward: Json<$type>) -> (u32, Vec<Json<$type>>) {
            (7, vec![awkward.clone(), awkward])
        }
    )* };
}

functions! {
    Untagged: take_untagged give_untagged echo_untagged;
    Tagged: take_tagged give_tagged echo_tagged;
    Flat: take_flat give_flat echo_flat;
    Skipping: take_skipping give_skipping echo_skipping;
    serde_json::Value: take_json give_json echo_json;
}

type Take<T> = fn(&T) -> mp::Result<mp::Process<String>>;
type Give<T> = fn(&str) -> mp::Result<mp::Process<T>>;
type Echo<T> = fn(T) -> mp::Result<mp::Process<(u32, Vec<Json<T>>)>>;

/// Checks that a value gets across as JSON only, and that errors say so where it does not.
#[track_caller]
fn is_awkward<T>(value: T, functions: [&str; 2], give: Give<T>, take: Take<T>, echo: Echo<T>)
where
    T: Serialize + DeserializeOwned + Debug + Clone + PartialEq,
{
    let type_name = std::any::type_name::<T>();
    let [taker, giver] = functions;

    let (text, ran) = match take(&value) {
        Err(error) => {
            assert!(matches!(error, Error::Encode(_)), "{error:?}");
            (error.to_string(), Ran::No)
        }
        Ok(process) => {
            let error = process.join().unwrap_err();
            assert!(matches!(error, ProcessError::Decode { .. }), "{error:?}");
            (error.to_string(), error.ran())
        }
    };
    assert_eq!(ran, Ran::No, "{text}");
    let argument = format!("argument `awkward` of `process_values::{taker}`");
    for words in [argument.as_str(), type_name, "mp::Json<T>"] {
        assert!(text.contains(words), "{words}: {text}");
    }

    let json = serde_json::to_string(&value).unwrap();
    let error = give(&json).unwrap().join().unwrap_err();
    assert!(
        matches!(
            error,
            ProcessError::Decode { .. } | ProcessError::Encode { .. }
        ),
        "{error:?}"
    );
    let text = error.to_string();
    assert_eq!(error.ran(), Ran::Yes, "{text}");
    let the_value = format!("the value of `process_values::{giver}`");
    for words in [the_value.as_str(), type_name, "mp::Json<T>"] {
        assert!(text.contains(words), "{words}: {text}");
    }

    let (number, values) = echo(value.clone()).unwrap().join().unwrap();
    assert_eq!(
        (number, values),
        (7, vec![Json(value.clone()), Json(value)])
    );
}

macro_rules! is_awkward {
    ($value:expr, $take:ident, $give:ident, $echo:ident) => {
        is_awkward(
            $value,
            [stringify!($take), stringify!($give)],
            |text| mp::spawn!($give, text.to_owned()),
            |value| mp::spawn!($take, 1, value.clone()),
            |value| mp::spawn!($echo, Json(value)),
        )
    };
}

#[mp::test]
fn untagged_enums_cross_as_json_only() {
    alone(|| {
        for value in [Untagged::Number(7), Untagged::Text("text".to_owned())] {
            is_awkward!(value, take_untagged, give_untagged, echo_untagged);
        }
    });
}

#[mp::test]
fn internally_tagged_enums_cross_as_json_only() {
    alone(|| {
        for value in [Tagged::Key { code: 13 }, Tagged::Closed] {
            is_awkward!(value, take_tagged, give_tagged, echo_tagged);
        }
    });
}

#[mp::test]
fn flattened_structs_cross_as_json_only() {
    alone(|| {
        for rest in [HashMap::new(), HashMap::from([("a".to_owned(), 1)])] {
            let name = "name".to_owned();
            is_awkward!(Flat { name, rest }, take_flat, give_flat, echo_flat);
        }
    });
}

#[mp::test]
fn skipped_fields_cross_as_json_only() {
    alone(|| {
        let (name, number) = (None, 7);
        let value = Skipping { name, number };
        is_awkward!(value, take_skipping, give_skipping, echo_skipping);
        let name = Some("there".to_owned());
        let value = Skipping { name, number };
        let text = mp::spawn!(take_skipping, 1, value).unwrap().join().unwrap();
        assert!(text.contains("there"), "{text}");
    });
}

#[mp::test]
fn json_values_cross_as_json_only() {
    alone(|| {
        for value in [
            serde_json::Value::Null,
            serde_json::json!(1.5),
            serde_json::json!({"a": [1, "b", null, {"c": true}]}),
        ] {
            is_awkward!(value, take_json, give_json, echo_json);
        }
    });
}

#[mp::process_fn]
fn parse(text: &str) -> Result<u32, mp::RemoteError> {
    Ok(text.parse()?)
}

#[derive(Debug)]
struct Outer(ParseIntError);

impl std::fmt::Display for Outer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the outer one")
    }
}

impl std::error::Error for Outer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[mp::process_fn]
fn parse_chained(text: &str) -> Result<u32, mp::RemoteError> {
    Ok(text.parse().map_err(Outer)?)
}

fn joined_twice(text: &str) -> mp::Result<u32> {
    Ok(mp::spawn!(parse_chained, text)?.join()??)
}

#[mp::test]
fn errors_of_any_type_cross() {
    alone(|| {
        assert_eq!(mp::spawn!(parse, "7").unwrap().join().unwrap().unwrap(), 7);
        let error = mp::spawn!(parse, "x").unwrap().join().unwrap().unwrap_err();
        assert_eq!(error.message(), "invalid digit found in string");
        assert!(error.is::<ParseIntError>(), "{}", error.type_name());
        assert_eq!(error.chain().count(), 1);

        let error = mp::spawn!(parse_chained, "x")
            .unwrap()
            .join()
            .unwrap()
            .unwrap_err();
        assert_eq!(error.type_name(), "process_values::Outer");
        let chain: Vec<_> = error.chain().collect();
        assert_eq!(chain, ["the outer one", "invalid digit found in string"]);

        assert_eq!(joined_twice("7").unwrap(), 7);
        let error = joined_twice("x").unwrap_err();
        assert!(matches!(error, Error::Remote(_)), "{error:?}");
        assert_eq!(error.to_string(), "the outer one");
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.to_string(), "invalid digit found in string");
    });
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum OwnError {
    Bad { code: u8 },
    Io(String),
}

#[mp::process_fn]
fn decide(code: u8) -> Result<Option<String>, OwnError> {
    match code {
        0 => Ok(None),
        1 => Ok(Some("one".to_owned())),
        2 => Err(OwnError::Io("two".to_owned())),
        code => Err(OwnError::Bad { code }),
    }
}

#[mp::process_fn]
fn nested(results: Vec<Result<u8, String>>) -> Result<Result<Vec<u8>, String>, ()> {
    Ok(results.into_iter().collect())
}

#[mp::test]
fn results_cross_as_they_are() {
    let _watchdog = Watchdog::new();
    let decided = |code| mp::spawn!(decide, code).unwrap().join().unwrap();
    assert_eq!(decided(0), Ok(None));
    assert_eq!(decided(1), Ok(Some("one".to_owned())));
    assert_eq!(decided(2), Err(OwnError::Io("two".to_owned())));
    assert_eq!(decided(3), Err(OwnError::Bad { code: 3 }));
    let given = vec![Ok(1), Err("no".to_owned())];
    assert_eq!(
        mp::spawn!(nested, given).unwrap().join().unwrap(),
        Ok(Err("no".to_owned()))
    );
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct View<'a> {
    name: &'a str,
    bytes: &'a [u8],
    #[serde(borrow)]
    parts: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    inner: Option<Box<View<'a>>>,
}

#[mp::process_fn]
fn look(view: View<'_>, text: &str, bytes: &[u8], path: &Path, cow: Cow<'_, str>) -> Vec<String> {
    let inner = view.inner.map(|inner| inner.name.to_owned());
    let mut seen = vec![view.name.to_owned(), format!("{:?}", view.bytes)];
    seen.extend(view.parts.into_iter().map(Cow::into_owned));
    seen.extend(inner);
    seen.extend([text.to_owned(), format!("{bytes:?}")]);
    seen.extend([path.display().to_string(), cow.into_owned()]);
    seen
}

#[mp::test]
fn arguments_are_borrowed() {
    alone(|| {
        // Nothing of it is `'static`.
        let owned = ["name", "part", "inner", "text"].map(str::to_owned);
        let [name, part, inner, text] = &owned;
        let bytes = vec![1, 2];
        let inner = View {
            name: inner,
            bytes: &[],
            parts: Vec::new(),
            inner: None,
        };
        let view = View {
            name,
            bytes: &bytes,
            parts: vec![part.into(), "ö".into()],
            inner: Some(Box::new(inner)),
        };
        let path = PathBuf::from("/a/b");
        let seen = mp::spawn!(look, view, text, &bytes, &path, Cow::from("cow"));
        assert_eq!(
            seen.unwrap().join().unwrap(),
            [
                "name", "[1, 2]", "part", "ö", "inner", "text", "[1, 2]", "/a/b", "cow"
            ]
        );
        for text in ["", "\0", "\u{10ffff}", &"ä".repeat(100_000)] {
            assert_eq!(
                mp::spawn!(length, text).unwrap().join().unwrap(),
                text.len()
            );
        }
    });
}

#[mp::process_fn]
fn length(text: &str) -> usize {
    text.len()
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Wrapped<T>(T);

/// One of each kind of serde's data model.
type Kinds = (
    (),
    Unit,
    (bool, char, i128, u128, f32, f64),
    [Option<Option<u8>>; 3],
    BTreeMap<String, Vec<(u8, Wrapped<Unit>)>>,
    Wrapped<Box<[String]>>,
    Duration,
    PhantomData<u8>,
);

#[mp::process_fn]
fn kinds(kinds: Kinds) -> Kinds {
    kinds
}

#[mp::process_fn]
fn units(_: (), _: Unit, _: [u8; 0]) -> Unit {
    Unit
}

#[mp::process_fn]
#[expect(clippy::too_many_arguments, reason = "that is what it is about")]
fn many(
    a: u8,
    b: u8,
    c: u8,
    d: u8,
    e: u8,
    f: u8,
    g: u8,
    h: u8,
    i: u8,
    j: u8,
    k: u8,
    l: u8,
    m: u8,
) -> u32 {
    let all = [a, b, c, d, e, f, g, h, i, j, k, l, m];
    all.iter()
        .zip(1..)
        .map(|(number, factor)| u32::from(*number) * factor)
        .sum()
}

#[mp::test]
fn values_of_every_kind_cross() {
    let _watchdog = Watchdog::new();
    let sent: Kinds = (
        (),
        Unit,
        (
            true,
            '\u{1f4a5}',
            i128::MIN,
            u128::MAX,
            -0.0,
            f64::MIN_POSITIVE,
        ),
        [None, Some(None), Some(Some(7))],
        BTreeMap::from([
            ("a".to_owned(), Vec::new()),
            ("b".to_owned(), vec![(1, Wrapped(Unit))]),
        ]),
        Wrapped(Box::new(["x".to_owned(), String::new()])),
        Duration::MAX,
        PhantomData,
    );
    assert_eq!(
        mp::spawn!(kinds, sent.clone()).unwrap().join().unwrap(),
        sent
    );
    assert_eq!(
        mp::spawn!(units, (), Unit, []).unwrap().join().unwrap(),
        Unit
    );
    let ones = mp::spawn!(many, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2);
    assert_eq!(ones.unwrap().join().unwrap(), 91 + 13);
    mp::spawn!(nothing).unwrap().join().unwrap();
}
