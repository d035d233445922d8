//! What is refused, and what the error says.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::de::{DeserializeOwned, IgnoredAny, SeqAccess, Visitor};
use serde::ser::{Error, SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::super::{decode, encode};
use super::bytes;

/// Cannot be encoded.
pub(super) struct Failing;

impl Serialize for Failing {
    fn serialize<S: Serializer>(&self, _serializer: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("this one\nnever works, {it} says"))
    }
}

fn encode_error(value: &impl Serialize) -> String {
    encode(value, &mut Vec::new()).unwrap_err().to_string()
}

fn decode_error<T: DeserializeOwned>(bytes: &[u8]) -> String {
    match decode::<T>(bytes) {
        Ok(_) => panic!("decoded"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn messages_of_implementations_are_kept() {
    assert_eq!(
        encode_error(&vec![Some(Failing)]),
        "this one\nnever works, {it} says"
    );
    assert_eq!(
        decode_error::<Result<u8, u8>>(&[7]),
        "invalid value: integer `7`, expected `Ok` or `Err`"
    );
    assert!(decode_error::<std::num::NonZeroU8>(&[0]).contains("nonzero"));
}

#[test]
fn types_that_ask_for_the_shape_are_told_of_json() {
    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(u8),
    }
    #[derive(Serialize, Deserialize)]
    #[serde(tag = "t")]
    enum Tagged {
        Number { number: u8 },
    }
    let remedy = "wrap the value in `mp::Json<T>`";
    for error in [
        decode_error::<Untagged>(&bytes(&Untagged::Number(1))),
        decode_error::<Tagged>(&bytes(&Tagged::Number { number: 1 })),
        decode_error::<serde_json::Value>(&bytes(&serde_json::json!(1))),
        decode_error::<IgnoredAny>(&[1]),
    ] {
        assert!(
            error.contains("not self-describing") && error.contains(remedy),
            "{error}"
        );
    }
}

#[test]
fn flatten_is_refused_when_it_is_written() {
    #[derive(Serialize)]
    struct Outer {
        #[serde(flatten)]
        rest: BTreeMap<String, u8>,
    }
    let error = encode_error(&Outer {
        rest: BTreeMap::new(),
    });
    assert!(
        error.contains("flatten") && error.contains("mp::Json<T>"),
        "{error}"
    );
}

#[test]
fn skipped_field_is_refused_when_it_is_written() {
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Config {
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<u8>,
    }
    let error = encode_error(&Config { name: None });
    assert!(
        error.contains("`name`") && error.contains("mp::Json<T>"),
        "{error}"
    );
    let named = Config { name: Some(1) };
    assert_eq!(decode::<Config>(&bytes(&named)).unwrap().0, named);
}

#[test]
fn wrong_number_of_elements_is_an_error() {
    struct Liar(usize);
    impl Serialize for Liar {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut sequence = serializer.serialize_seq(Some(2))?;
            for _ in 0..self.0 {
                sequence.serialize_element(&1_u8)?;
            }
            sequence.end()
        }
    }
    struct MapLiar;
    impl Serialize for MapLiar {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(Some(2))?;
            map.serialize_entry(&1_u8, &2_u8)?;
            map.end()
        }
    }
    assert!(encode_error(&Liar(1)).contains("announced 2 elements and wrote 1"));
    assert!(encode_error(&Liar(3)).contains("announced 2 elements and wrote 3"));
    assert!(encode_error(&MapLiar).contains("announced 2 elements and wrote 1"));
    assert_eq!(bytes(&Liar(2)), [2, 1, 1]);
}

#[test]
fn visitor_that_stops_early_is_an_error() {
    #[derive(Debug)]
    struct First;
    impl<'de> Deserialize<'de> for First {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_seq(First)
        }
    }
    impl<'de> Visitor<'de> for First {
        type Value = First;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a sequence")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<First, A::Error> {
            seq.next_element::<u8>().map(|_| First)
        }
    }
    assert!(decode_error::<First>(&[3, 1, 2, 3]).contains("left 2 elements"));
}

#[test]
fn display_that_fails_is_an_error() {
    struct Bad;
    impl fmt::Display for Bad {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            Err(fmt::Error)
        }
    }
    impl Serialize for Bad {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self)
        }
    }
    assert!(encode_error(&Bad).contains("`Display`"));
}

#[test]
fn length_beyond_the_bytes_is_an_error() {
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    for error in [
        decode_error::<Vec<u8>>(&huge),
        decode_error::<Vec<f64>>(&huge),
        decode_error::<String>(&huge),
        decode_error::<Vec<String>>(&huge),
        decode_error::<Vec<()>>(&huge),
        decode_error::<HashMap<u8, u8>>(&huge),
        decode_error::<Vec<f64>>(&[2, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        assert!(error.contains("a length of"), "{error}");
    }
}

#[test]
fn elements_without_bytes_are_limited_by_their_memory() {
    #[derive(Debug, Default, Clone, Serialize, Deserialize)]
    struct Skipped {
        #[serde(skip)]
        _big: [u64; 32],
    }
    let million = 1 << 20;
    assert_eq!(
        decode::<Vec<()>>(&bytes(&vec![(); million]))
            .unwrap()
            .0
            .len(),
        million
    );
    assert_eq!(
        decode::<Vec<Skipped>>(&bytes(&vec![Skipped::default(); 1000]))
            .unwrap()
            .0
            .len(),
        1000
    );
    let many = bytes(&million);
    assert!(decode_error::<Vec<Skipped>>(&many).contains("take no bytes"));
    assert!(
        decode_error::<Vec<Vec<Skipped>>>(&[[9].as_slice(), &many].concat())
            .contains("take no bytes")
    );
}

#[test]
fn damaged_bytes_are_named() {
    assert!(decode_error::<u64>(&[0x80]).contains("the bytes end"));
    assert!(decode_error::<u64>(&[0xff; 10]).contains("integer"));
    assert!(decode_error::<u128>(&[0xff; 19]).contains("integer"));
    assert!(decode_error::<u16>(&[0xff, 0xff, 0x04]).contains("integer"));
    assert!(decode_error::<i16>(&[0xff, 0xff, 0x04]).contains("integer"));
    assert!(decode_error::<bool>(&[2]).contains("2 is found where a `bool`"));
    assert!(decode_error::<Option<u8>>(&[2]).contains("an `Option`"));
    assert!(decode_error::<char>(&[2, b'a', b'b']).contains("`char`"));
    assert!(decode_error::<char>(&[0]).contains("`char`"));
    assert!(decode_error::<String>(&[1, 0xff]).contains("UTF-8"));
    assert!(decode_error::<Vec<bool>>(&[2, 1, 3]).contains("3 is found"));
}
