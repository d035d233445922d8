mod blocks;
mod family;
mod refusals;

use std::collections::BTreeMap;
use std::fmt::Debug;

use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};

use super::{CodecError, Sink, decode, encode};
use family::{Choice, Everything, choice, everything};

fn bytes<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(value, &mut bytes).unwrap();
    bytes
}

/// Checks that the bytes of `value` are postcard's, that they come back as the value, and what is behind them as well.
fn same_as_postcard<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let mut bytes = bytes(value);
    assert_eq!(bytes, postcard::to_stdvec(value).unwrap());
    assert_eq!(&postcard::from_bytes::<T>(&bytes).unwrap(), value);
    bytes.extend(b"behind");
    let (decoded, rest) = decode::<T>(&bytes).unwrap();
    assert_eq!(&decoded, value);
    assert_eq!(rest, b"behind");
}

proptest! {
    #[test]
    fn everything_travels_as_in_postcard(value in everything()) {
        same_as_postcard(&value);
    }

    #[test]
    fn integers_travel_as_in_postcard(
        unsigned: (u8, u16, u32, u64, u128, usize),
        signed: (i8, i16, i32, i64, i128, isize),
        shift in 0..128_u32,
    ) {
        same_as_postcard(&unsigned);
        same_as_postcard(&signed);
        // Uniform numbers are nearly all long; these have all lengths.
        same_as_postcard(&(unsigned.4 >> shift, signed.4 >> shift, (unsigned.4 >> shift) as u64));
    }

    #[test]
    fn cut_bytes_are_an_error(value in everything()) {
        let bytes = bytes(&value);
        for length in 0..bytes.len() {
            prop_assert!(decode::<Everything>(&bytes[..length]).is_err());
        }
    }

    #[test]
    fn any_bytes_decode_as_in_postcard_or_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        // Compared as text: `NaN` is not equal to itself.
        if let Ok((value, rest)) = decode::<Everything>(&bytes) {
            let (theirs, their_rest) = postcard::take_from_bytes::<Everything>(&bytes).unwrap();
            prop_assert_eq!(format!("{value:?}"), format!("{theirs:?}"));
            prop_assert_eq!(rest, their_rest);
        }
        type Small = (Option<Choice>, Vec<(bool, char, Vec<f32>)>, BTreeMap<i16, String>, u128);
        if let Ok((value, rest)) = decode::<Small>(&bytes) {
            let (theirs, their_rest) = postcard::take_from_bytes::<Small>(&bytes).unwrap();
            prop_assert_eq!(format!("{value:?}"), format!("{theirs:?}"));
            prop_assert_eq!(rest, their_rest);
        }
    }

    #[test]
    fn changed_bytes_do_not_panic(value in everything(), place: prop::sample::Index, byte: u8) {
        let mut bytes = bytes(&value);
        let place = place.index(bytes.len());
        bytes[place] = byte;
        drop(decode::<Everything>(&bytes));
    }

    #[test]
    fn sink_receives_the_same_bytes(value in choice()) {
        struct Pieces(Vec<Vec<u8>>);
        impl Sink for Pieces {
            fn write(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
                self.0.push(bytes.to_vec());
                Ok(())
            }
        }
        let mut pieces = Pieces(Vec::new());
        encode(&value, &mut pieces).unwrap();
        prop_assert_eq!(pieces.0.concat(), bytes(&value));
    }
}

#[test]
fn strings_and_bytes_are_borrowed() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Borrowed<'a> {
        text: &'a str,
        #[serde(borrow)]
        bytes: Option<(u8, &'a [u8])>,
    }
    let value = Borrowed {
        text: "text",
        bytes: Some((1, b"bytes")),
    };
    let bytes = bytes(&value);
    assert_eq!(bytes, postcard::to_stdvec(&value).unwrap());
    let (decoded, rest) = decode::<Borrowed<'_>>(&bytes).unwrap();
    assert_eq!(decoded, value);
    assert!(rest.is_empty());
    assert!(bytes.as_ptr_range().contains(&decoded.text.as_ptr()));
}

#[test]
fn floats_keep_every_bit() {
    let bits = [
        f64::NAN.to_bits() | 1,
        (-0.0_f64).to_bits(),
        f64::INFINITY.to_bits(),
        1,
    ];
    let values = bits.map(f64::from_bits).to_vec();
    let bytes = bytes(&(values[0], &values));
    let (decoded, _) = decode::<(f64, Vec<f64>)>(&bytes).unwrap();
    assert_eq!(decoded.0.to_bits(), bits[0]);
    assert!(decoded.1.iter().map(|value| value.to_bits()).eq(bits));
}

#[test]
fn sequence_of_unknown_length_is_buffered() {
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Even {
        #[serde(serialize_with = "even")]
        numbers: Vec<Vec<u32>>,
        behind: u8,
    }
    fn even<S: Serializer>(numbers: &[Vec<u32>], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(numbers.iter().filter(|row| row.len() % 2 == 0))
    }
    let value = Even {
        numbers: vec![vec![1, 2], vec![3], vec![], vec![4, 500]],
        behind: 9,
    };
    let bytes = bytes(&value);
    let (decoded, rest) = decode::<Even>(&bytes).unwrap();
    assert_eq!(
        decoded,
        Even {
            numbers: vec![vec![1, 2], vec![], vec![4, 500]],
            behind: 9
        }
    );
    assert!(rest.is_empty());
}

#[test]
fn format_is_not_human_readable() {
    // Addresses are text in formats for humans.
    assert_eq!(bytes(&std::net::Ipv4Addr::LOCALHOST), [127, 0, 0, 1]);
    assert_eq!(
        decode::<std::net::Ipv4Addr>(&[127, 0, 0, 1]).unwrap().0,
        std::net::Ipv4Addr::LOCALHOST
    );
}
