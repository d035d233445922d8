//! serde's data model to bytes.

use std::fmt::{Display, Write};

use serde::ser::{self, Error, Serialize};

use super::error::{CodecError, Kind};
use super::{Sink, bulk, varint};

/// Writes one value to a sink.
pub(super) struct Serializer<'a, S>(pub(super) &'a mut S);

/// The elements of a sequence or the entries of a map, counted.
pub(super) struct Elements<'a, S> {
    serializer: Serializer<'a, S>,
    length: Length,
    written: usize,
}

/// What is known of a length before the elements are.
enum Length {
    Claimed(usize),
    /// Nothing: the elements wait here until their number can be written.
    Unknown(Vec<u8>),
}

impl<'a, S: Sink> Serializer<'a, S> {
    /// Another serializer for the same sink, for a part of the value.
    #[inline]
    fn part(&mut self) -> Serializer<'_, S> {
        Serializer(self.0)
    }

    #[inline]
    fn length(&mut self, length: usize) -> Result<(), CodecError> {
        varint::write(self.0, length as u64)
    }

    #[inline]
    fn variant(&mut self, index: u32) -> Result<(), CodecError> {
        varint::write(self.0, index.into())
    }

    #[inline]
    fn claimed(mut self, length: usize) -> Result<Elements<'a, S>, CodecError> {
        self.length(length)?;
        Ok(Elements {
            serializer: self,
            length: Length::Claimed(length),
            written: 0,
        })
    }
}

impl<S: Sink> Elements<'_, S> {
    #[inline]
    fn write<T: Serialize + ?Sized>(&mut self, part: &T) -> Result<(), CodecError> {
        match &mut self.length {
            Length::Claimed(_) => part.serialize(self.serializer.part()),
            Length::Unknown(buffer) => part.serialize(Serializer(buffer)),
        }
    }

    #[inline]
    fn finish(mut self) -> Result<(), CodecError> {
        let written = self.written;
        match self.length {
            Length::Claimed(claimed) if claimed == written => Ok(()),
            Length::Claimed(claimed) => Err(Kind::WrongCount { claimed, written }.into()),
            Length::Unknown(buffer) => {
                self.serializer.length(written)?;
                self.serializer.0.write(&buffer)
            }
        }
    }
}

/// Methods that write a number as an integer of variable length.
macro_rules! integers {
    ($($method:ident($type:ty))*: $write:ident, $map:expr) => {$(
        #[inline]
        fn $method(self, value: $type) -> Result<(), CodecError> {
            varint::$write(self.0, $map(value.into()))
        }
    )*};
}

/// Methods that write a number as its bytes.
macro_rules! fixed {
    ($($method:ident($type:ty))*) => {$(
        #[inline]
        fn $method(self, value: $type) -> Result<(), CodecError> {
            self.0.write(&value.to_le_bytes())
        }
    )*};
}

impl<'a, S: Sink> ser::Serializer for Serializer<'a, S> {
    type Ok = ();
    type Error = CodecError;
    type SerializeSeq = Elements<'a, S>;
    type SerializeMap = Elements<'a, S>;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    fixed! { serialize_u8(u8) serialize_i8(i8) serialize_f32(f32) serialize_f64(f64) }
    integers! { serialize_u16(u16) serialize_u32(u32) serialize_u64(u64): write, |value| value }
    integers! { serialize_i16(i16) serialize_i32(i32) serialize_i64(i64): write, varint::zigzag }
    integers! { serialize_u128(u128): write_wide, |value| value }
    integers! { serialize_i128(i128): write_wide, varint::zigzag_wide }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<(), CodecError> {
        self.serialize_u8(value.into())
    }

    #[inline]
    fn serialize_char(self, value: char) -> Result<(), CodecError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), CodecError> {
        self.serialize_bytes(value.as_bytes())
    }

    #[inline]
    fn serialize_bytes(mut self, value: &[u8]) -> Result<(), CodecError> {
        self.length(value.len())?;
        self.0.write(value)
    }

    #[inline]
    fn serialize_none(self) -> Result<(), CodecError> {
        self.serialize_u8(0)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(mut self, value: &T) -> Result<(), CodecError> {
        self.part().serialize_u8(1)?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), CodecError> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), CodecError> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(
        mut self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
    ) -> Result<(), CodecError> {
        self.variant(index)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), CodecError> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        mut self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        value: &T,
    ) -> Result<(), CodecError> {
        self.variant(index)?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_seq(self, length: Option<usize>) -> Result<Elements<'a, S>, CodecError> {
        match length {
            Some(length) => self.claimed(length),
            None => Ok(Elements {
                serializer: self,
                length: Length::Unknown(Vec::new()),
                written: 0,
            }),
        }
    }

    #[inline]
    fn collect_seq<I>(mut self, sequence: I) -> Result<(), CodecError>
    where
        I: IntoIterator<Item: Serialize>,
    {
        if let Some((length, bytes)) = bulk::encoding_of(&sequence) {
            self.length(length)?;
            return self.0.write(bytes);
        }
        let iterator = sequence.into_iter();
        let mut elements = match iterator.size_hint() {
            (least, Some(most)) if least == most => self.serialize_seq(Some(least))?,
            _ => self.serialize_seq(None)?,
        };
        for element in iterator {
            ser::SerializeSeq::serialize_element(&mut elements, &element)?;
        }
        elements.finish()
    }

    #[inline]
    fn serialize_tuple(self, _length: usize) -> Result<Self, CodecError> {
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _length: usize,
    ) -> Result<Self, CodecError> {
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_variant(
        mut self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        _length: usize,
    ) -> Result<Self, CodecError> {
        self.variant(index)?;
        Ok(self)
    }

    /// Refuses an unknown length: it is nearly always `#[serde(flatten)]`, which would fail only in the reader.
    #[inline]
    fn serialize_map(self, length: Option<usize>) -> Result<Elements<'a, S>, CodecError> {
        self.claimed(length.ok_or(Kind::MapOfUnknownLength)?)
    }

    #[inline]
    fn serialize_struct(self, _name: &'static str, _length: usize) -> Result<Self, CodecError> {
        Ok(self)
    }

    #[inline]
    fn serialize_struct_variant(
        mut self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        _length: usize,
    ) -> Result<Self, CodecError> {
        self.variant(index)?;
        Ok(self)
    }

    /// Formats once; unlike the provided method, it does not panic if `Display` fails.
    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<(), CodecError> {
        let mut text = String::new();
        if write!(text, "{value}").is_err() {
            return Err(CodecError::custom(
                "the `Display` implementation of a value to be sent failed",
            ));
        }
        self.serialize_str(&text)
    }
}

impl<S: Sink> ser::SerializeSeq for Elements<'_, S> {
    type Ok = ();
    type Error = CodecError;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        self.written += 1;
        self.write(value)
    }

    #[inline]
    fn end(self) -> Result<(), CodecError> {
        self.finish()
    }
}

impl<S: Sink> ser::SerializeMap for Elements<'_, S> {
    type Ok = ();
    type Error = CodecError;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), CodecError> {
        self.written += 1;
        self.write(key)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        self.write(value)
    }

    #[inline]
    fn end(self) -> Result<(), CodecError> {
        self.finish()
    }
}

/// The traits of what has a fixed number of parts, which is written as the parts and nothing else.
macro_rules! parts {
    ($($trait:ident::$method:ident($($key:ident)?) $({ $($skip:tt)* })?)*) => {$(
        impl<S: Sink> ser::$trait for Serializer<'_, S> {
            type Ok = ();
            type Error = CodecError;

            #[inline]
            fn $method<T: Serialize + ?Sized>(
                &mut self,
                $($key: &'static str,)?
                value: &T,
            ) -> Result<(), CodecError> {
                $(let _ = $key;)?
                value.serialize(self.part())
            }

            $($($skip)*)?

            #[inline]
            fn end(self) -> Result<(), CodecError> {
                Ok(())
            }
        }
    )*};
}

parts! {
    SerializeTuple::serialize_element()
    SerializeTupleStruct::serialize_field()
    SerializeTupleVariant::serialize_field()
    SerializeStruct::serialize_field(_key) {
        fn skip_field(&mut self, field: &'static str) -> Result<(), CodecError> {
            Err(Kind::FieldSkipped { field }.into())
        }
    }
    SerializeStructVariant::serialize_field(_key) {
        fn skip_field(&mut self, field: &'static str) -> Result<(), CodecError> {
            Err(Kind::FieldSkipped { field }.into())
        }
    }
}
