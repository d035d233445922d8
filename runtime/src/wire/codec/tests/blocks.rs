//! That blocks are copied as blocks, and only where they are meant.

use std::borrow::Cow;
use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::super::{CodecError, Sink, bulk, decode, encode};
use super::bytes;
use super::family::{Choice, Newtype, Pair};

/// Counts the calls.
struct Calls(usize);

impl Sink for Calls {
    fn write(&mut self, _bytes: &[u8]) -> Result<(), CodecError> {
        self.0 += 1;
        Ok(())
    }
}

fn writes<T: Serialize + ?Sized>(value: &T) -> usize {
    let mut calls = Calls(0);
    encode(value, &mut calls).unwrap();
    calls.0
}

#[test]
fn blocks_are_written_at_once_at_any_depth() {
    let block = vec![7_u8; 1000];
    assert_eq!(writes(&block), 2);
    assert_eq!(writes(&block[..]), 2);
    assert_eq!(writes(&&&*block), 2);
    assert_eq!(writes(&block.clone().into_boxed_slice()), 2);
    assert_eq!(writes(&Cow::Borrowed(&*block)), 2);
    assert_eq!(writes(&[block.clone(), block.clone()]), 4);
    assert_eq!(writes(&Some(Some(block.clone()))), 4);
    assert_eq!(writes(&Newtype(block.clone())), 2);
    assert_eq!(writes(&Pair(1, block.clone().into())), 3);
    assert_eq!(writes(&Choice::Deep(Box::new(Choice::Bytes(block)))), 4);
    assert_eq!(writes(&vec![1_i8; 1000]), 2);
}

#[test]
fn floats_are_written_at_once() {
    if !bulk::LITTLE_ENDIAN {
        return;
    }
    assert_eq!(writes(&vec![1.0_f32; 1000]), 2);
    assert_eq!(writes(&(1_u8, Some(&[1.0_f64; 1000][..]))), 4);
    assert_eq!(writes(&Choice::Two(1, vec![0.5; 1000])), 4);
}

/// Tells whether a type's `Deserialize` brings a visitor that is served with a block.
fn block_size<T: for<'de> Deserialize<'de>>() -> Option<usize> {
    struct Ask<'a>(&'a mut Option<usize>);

    impl<'de> Deserializer<'de> for Ask<'_> {
        type Error = serde::de::value::Error;

        fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
            *self.0 = bulk::block_of::<V>().map(|block| block.element_size);
            self.deserialize_any(visitor)
        }

        fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Self::Error> {
            Err(serde::de::Error::custom("asked"))
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct tuple tuple_struct map struct enum identifier ignored_any
        }
    }

    let mut size = None;
    drop(T::deserialize(Ask(&mut size)));
    size
}

#[test]
fn vecs_are_read_as_blocks() {
    assert_eq!(block_size::<Vec<u8>>(), Some(1));
    assert_eq!(block_size::<Vec<i8>>(), Some(1));
    assert_eq!(block_size::<Box<[u8]>>(), Some(1));
    assert_eq!(block_size::<Cow<'static, [u8]>>(), Some(1));
    assert_eq!(block_size::<Vec<f32>>(), bulk::LITTLE_ENDIAN.then_some(4));
    assert_eq!(block_size::<Box<[f64]>>(), bulk::LITTLE_ENDIAN.then_some(8));

    assert_eq!(block_size::<Vec<bool>>(), None);
    assert_eq!(block_size::<Vec<u32>>(), None);
    assert_eq!(block_size::<Vec<Vec<u8>>>(), None);
    assert_eq!(block_size::<std::collections::VecDeque<u8>>(), None);
}

#[test]
fn visitor_of_another_crate_is_not_bypassed() {
    #[derive(Debug)]
    struct AtMostTwo(Vec<u8>);

    impl<'de> Deserialize<'de> for AtMostTwo {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Limited;

            impl<'de> Visitor<'de> for Limited {
                type Value = Vec<u8>;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("at most two bytes")
                }

                fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u8>, A::Error> {
                    let mut bytes = Vec::new();
                    while let Some(byte) = seq.next_element()? {
                        bytes.push(byte);
                        if bytes.len() > 2 {
                            return Err(serde::de::Error::invalid_length(bytes.len(), &self));
                        }
                    }
                    Ok(bytes)
                }
            }

            deserializer.deserialize_seq(Limited).map(AtMostTwo)
        }
    }

    assert_eq!(
        decode::<AtMostTwo>(&bytes(&[1_u8, 2][..])).unwrap().0.0,
        [1, 2]
    );
    let error = decode::<AtMostTwo>(&bytes(&[1_u8, 2, 3][..])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid length 3, expected at most two bytes"
    );
}
