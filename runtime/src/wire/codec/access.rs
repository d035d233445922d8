//! The parts of a value: of a tuple, whose number the type gives, and of a sequence or map, whose number the bytes claim.

use serde::de::{self, DeserializeSeed};

use super::de::Deserializer;
use super::error::{CodecError, Kind};

/// The parts of a tuple or struct.
pub(super) struct Parts<'a, 'de> {
    deserializer: &'a mut Deserializer<'de>,
    left: usize,
}

impl<'a, 'de> Parts<'a, 'de> {
    pub(super) fn new(deserializer: &'a mut Deserializer<'de>, number: usize) -> Self {
        Parts {
            deserializer,
            left: number,
        }
    }
}

impl<'de> de::SeqAccess<'de> for Parts<'_, 'de> {
    type Error = CodecError;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, CodecError> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        seed.deserialize(&mut *self.deserializer).map(Some)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// The elements of a sequence, or the entries of a map.
pub(super) struct Elements<'a, 'de> {
    deserializer: &'a mut Deserializer<'de>,
    left: usize,
    /// Of the key whose value is next: the bytes that were left before it, and its size in memory.
    key: (usize, usize),
}

impl<'a, 'de> Elements<'a, 'de> {
    /// Reads how many there are.
    #[inline]
    pub(super) fn begin(deserializer: &'a mut Deserializer<'de>) -> Result<Self, CodecError> {
        let left = deserializer.count()?;
        Ok(Elements {
            deserializer,
            left,
            key: (0, 0),
        })
    }

    /// Checks that the visitor which made `value` has read all.
    #[inline]
    pub(super) fn finish<T>(self, value: T) -> Result<T, CodecError> {
        match self.left {
            0 => Ok(value),
            left => Err(Kind::ElementsUnread { left }.into()),
        }
    }

    /// The number of those left, unless the bytes present do not back it: memory is then taken as they come.
    #[inline]
    fn hint(&self) -> Option<usize> {
        Some(self.left).filter(|left| *left <= self.deserializer.rest().len())
    }
}

impl<'de> de::SeqAccess<'de> for Elements<'_, 'de> {
    type Error = CodecError;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, CodecError> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        let before = self.deserializer.rest().len();
        let value = seed.deserialize(&mut *self.deserializer)?;
        self.deserializer.account(before, size_of::<T::Value>())?;
        Ok(Some(value))
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.hint()
    }
}

impl<'de> de::MapAccess<'de> for Elements<'_, 'de> {
    type Error = CodecError;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, CodecError> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        self.key = (self.deserializer.rest().len(), size_of::<K::Value>());
        seed.deserialize(&mut *self.deserializer).map(Some)
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, CodecError> {
        let (before, key) = self.key;
        let value = seed.deserialize(&mut *self.deserializer)?;
        self.deserializer
            .account(before, key.saturating_add(size_of::<V::Value>()))?;
        Ok(value)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.hint()
    }
}
