//! Bytes to serde's data model.

use serde::de::{self, DeserializeSeed, Deserializer as _, IntoDeserializer, Visitor};

use super::access::{Elements, Parts};
use super::error::{CodecError, Kind};
use super::{bulk, varint};

/// How much memory elements that take no bytes may fill, beside as much as the message is long.
///
/// Nothing else bounds them: three bytes can claim a million `()`, or a million structs whose fields are all skipped.
const EMPTY: usize = 16 << 20;

/// Reads values from the front of a slice.
pub(super) struct Deserializer<'de> {
    rest: &'de [u8],
    /// What is left for elements that take no bytes.
    empty: usize,
}

impl<'de> Deserializer<'de> {
    pub(super) fn new(bytes: &'de [u8]) -> Self {
        Deserializer {
            rest: bytes,
            empty: bytes.len().saturating_add(EMPTY),
        }
    }

    /// The bytes that are not read yet.
    #[inline]
    pub(super) fn rest(&self) -> &'de [u8] {
        self.rest
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'de [u8], CodecError> {
        let Some((bytes, rest)) = self.rest.split_at_checked(length) else {
            let present = self.rest.len();
            return Err(Kind::UnexpectedEnd {
                needed: length,
                present,
            }
            .into());
        };
        self.rest = rest;
        Ok(bytes)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let Some((&bytes, rest)) = self.rest.split_first_chunk() else {
            let present = self.rest.len();
            return Err(Kind::UnexpectedEnd { needed: N, present }.into());
        };
        self.rest = rest;
        Ok(bytes)
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, CodecError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// Reads a length, and that many elements of `size` bytes.
    #[inline]
    fn block(&mut self, size: usize) -> Result<&'de [u8], CodecError> {
        let claimed = varint::read(&mut self.rest)?;
        let length = usize::try_from(claimed)
            .ok()
            .and_then(|length| length.checked_mul(size));
        match length {
            Some(length) if length <= self.rest.len() => self.take(length),
            _ => Err(self.too_long(claimed)),
        }
    }

    /// Reads the number of elements, each of which takes a byte or counts as empty.
    #[inline]
    pub(super) fn count(&mut self) -> Result<usize, CodecError> {
        let claimed = varint::read(&mut self.rest)?;
        match usize::try_from(claimed) {
            Ok(count) if count.saturating_sub(self.rest.len()) <= self.empty => Ok(count),
            _ => Err(self.too_long(claimed)),
        }
    }

    #[cold]
    fn too_long(&self, claimed: u64) -> CodecError {
        let present = self.rest.len();
        Kind::TooLong { claimed, present }.into()
    }

    /// Accounts for an element of `size` bytes of memory which was read when `before` bytes were left.
    #[inline]
    pub(super) fn account(&mut self, before: usize, size: usize) -> Result<(), CodecError> {
        if self.rest.len() == before {
            let left = self.empty.checked_sub(size.max(1));
            self.empty = left.ok_or(Kind::TooManyEmpty)?;
        }
        Ok(())
    }

    fn shapeless<T>(&self, asked: &'static str) -> Result<T, CodecError> {
        Err(Kind::NotSelfDescribing { asked }.into())
    }
}

/// Methods that read an integer of variable length.
macro_rules! integers {
    ($($method:ident $visit:ident)*: $read:ident, $map:expr) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
            let value = $map(varint::$read(&mut self.rest)?);
            visitor.$visit(value.try_into().map_err(|_| Kind::BadInteger)?)
        }
    )*};
}

/// Methods that read a number of fixed length.
macro_rules! fixed {
    ($($method:ident $visit:ident $type:ident)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
            visitor.$visit($type::from_le_bytes(self.array()?))
        }
    )*};
}

impl<'de> de::Deserializer<'de> for &mut Deserializer<'de> {
    type Error = CodecError;

    fixed! {
        deserialize_u8 visit_u8 u8
        deserialize_i8 visit_i8 i8
        deserialize_f32 visit_f32 f32
        deserialize_f64 visit_f64 f64
    }
    integers! {
        deserialize_u16 visit_u16
        deserialize_u32 visit_u32
        deserialize_u64 visit_u64: read, |value: u64| value
    }
    integers! {
        deserialize_i16 visit_i16
        deserialize_i32 visit_i32
        deserialize_i64 visit_i64: read, varint::unzigzag
    }
    integers! { deserialize_u128 visit_u128: read_wide, |value: u128| value }
    integers! { deserialize_i128 visit_i128: read_wide, varint::unzigzag_wide }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        match self.byte()? {
            0 => visitor.visit_bool(false),
            1 => visitor.visit_bool(true),
            found => Err(Kind::BadTag {
                what: "a `bool`",
                found,
            }
            .into()),
        }
    }

    #[inline]
    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        let text = str::from_utf8(self.block(1)?).map_err(|_| Kind::BadChar)?;
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some(value), None) => visitor.visit_char(value),
            _ => Err(Kind::BadChar.into()),
        }
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        let text = str::from_utf8(self.block(1)?).map_err(Kind::BadUtf8)?;
        visitor.visit_borrowed_str(text)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        self.deserialize_str(visitor)
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_borrowed_bytes(self.block(1)?)
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        self.deserialize_bytes(visitor)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        match self.byte()? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(self),
            found => Err(Kind::BadTag {
                what: "the tag of an `Option`",
                found,
            }
            .into()),
        }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        if let Some(block) = bulk::block_of::<V>() {
            return Ok(block.build(self.block(block.element_size)?));
        }
        let mut elements = Elements::begin(self)?;
        let value = visitor.visit_seq(&mut elements)?;
        elements.finish(value)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        let mut entries = Elements::begin(self)?;
        let value = visitor.visit_map(&mut entries)?;
        entries.finish(value)
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        visitor.visit_seq(Parts::new(self, length))
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.deserialize_tuple(length, visitor)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        visitor.visit_enum(self)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, CodecError> {
        self.shapeless("deserialize_any")
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, CodecError> {
        self.shapeless("deserialize_ignored_any")
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, CodecError> {
        self.shapeless("deserialize_identifier")
    }
}

impl<'de> de::EnumAccess<'de> for &mut Deserializer<'de> {
    type Error = CodecError;
    type Variant = Self;

    #[inline]
    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self), CodecError> {
        let index = varint::read(&mut self.rest)?;
        let index = u32::try_from(index).map_err(|_| Kind::BadInteger)?;
        let variant = seed.deserialize(IntoDeserializer::<CodecError>::into_deserializer(index))?;
        Ok((variant, self))
    }
}

impl<'de> de::VariantAccess<'de> for &mut Deserializer<'de> {
    type Error = CodecError;

    #[inline]
    fn unit_variant(self) -> Result<(), CodecError> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, CodecError> {
        seed.deserialize(self)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.deserialize_tuple(length, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.deserialize_tuple(fields.len(), visitor)
    }
}
