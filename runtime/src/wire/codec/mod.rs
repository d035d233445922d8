//! Values to bytes and back: the wire format of the crate `postcard`, with whole blocks copied at once.
//!
//! The bytes are those that postcard 1 writes; property tests compare the two. postcard itself is not used, because
//! its errors drop the messages of serde's implementations, and because it knows `Vec<u8>` only as a sequence whose
//! elements come one by one. What differs here:
//!
//! * Slices, `Vec`s and boxes of `u8`, `i8`, `f32` and `f64` are copied as one block, at any depth ([`bulk`]).
//! * A sequence whose length is not known up front is buffered, then written with its length.
//! * What postcard writes but cannot read back is refused when it is written, where the type allows to tell:
//!   `#[serde(flatten)]`, and fields that `#[serde(skip_serializing_if)]` leaves out.
//! * A sequence must hold as many elements as it claims, for the writer and for the reader.
//! * A claimed length allocates nothing that the bytes present do not back.
//!
//! What neither can carry is whatever asks the data for its shape: `#[serde(untagged)]`, `#[serde(tag = …)]`,
//! `serde_json::Value`. The error names [`Json`](super::Json) as the way out. One case goes wrong unseen, as it does
//! in postcard: serde numbers the variants of an enum differently for writing and for reading if one that is
//! `#[serde(skip)]` stands before others; such variants belong at the end.

mod access;
mod bulk;
mod de;
mod error;
mod ser;
#[cfg(test)]
mod tests;
mod varint;

use serde::{Deserialize, Serialize};

use de::Deserializer;
pub(crate) use error::CodecError;
use ser::Serializer;

/// Where encoded bytes go.
pub(crate) trait Sink {
    /// Appends `bytes`, all of them or, with an error, any part.
    fn write(&mut self, bytes: &[u8]) -> Result<(), CodecError>;

    /// Appends the first `length` of a few bytes; a sink with room to spare may copy all of them, which takes no loop.
    #[inline]
    fn write_front<const N: usize>(
        &mut self,
        bytes: &[u8; N],
        length: usize,
    ) -> Result<(), CodecError> {
        self.write(bytes.get(..length).unwrap_or(bytes))
    }
}

impl Sink for Vec<u8> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        self.extend_from_slice(bytes);
        Ok(())
    }

    #[inline]
    fn write_front<const N: usize>(
        &mut self,
        bytes: &[u8; N],
        length: usize,
    ) -> Result<(), CodecError> {
        let end = self.len() + length;
        self.extend_from_slice(bytes);
        self.truncate(end);
        Ok(())
    }
}

/// Writes the bytes of `value` to `sink`.
///
/// # Errors
///
/// If the format cannot carry the value, its `Serialize` fails, or the sink; the sink then holds a part of the value.
pub(crate) fn encode<T: Serialize + ?Sized, S: Sink>(
    value: &T,
    sink: &mut S,
) -> Result<(), CodecError> {
    value.serialize(Serializer(sink))
}

/// Takes a value from the front of `bytes`; returns it and the bytes behind it.
///
/// `&str` and `&[u8]` in the value borrow from `bytes`.
///
/// # Errors
///
/// If the bytes are not those of a `T`, or `T` needs a format that describes itself.
pub(crate) fn decode<'de, T: Deserialize<'de>>(
    bytes: &'de [u8],
) -> Result<(T, &'de [u8]), CodecError> {
    let mut deserializer = Deserializer::new(bytes);
    let value = T::deserialize(&mut deserializer)?;
    Ok((value, deserializer.rest()))
}
