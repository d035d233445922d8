//! The sequences that are copied as one block: slices and `Vec`s of [`Bulk`] elements.
//!
//! serde writes a `Vec<u8>` with `collect_seq` and reads it with `deserialize_seq`, both generic; neither says that the
//! elements are bytes. The writer is told by the type of what is iterated: `&[u8]` or `&Vec<u8>`. The reader is told by
//! the type of the visitor. That type is private to serde, so serde is asked for it: [`Probe`] is a deserializer that
//! does nothing but report which visitor a `Vec<u8>` brings. (To compare only the visitor's value would be sound, but
//! would bypass the visitors of other crates that build a `Vec<u8>` in their own way, or up to a limit.)
//!
//! # Safety
//!
//! Equal ids of `typeid` mean equal types but for their lifetimes, which it erases. It is compared here with slices and
//! `Vec`s of [`Bulk`] types only, which have no lifetimes inside; then, and only then, the type is changed to what it is.

#![allow(unsafe_code)]

use std::any::TypeId;
use std::error::Error;
use std::fmt;
use std::mem::{self, ManuallyDrop};
use std::ptr;

use bytemuck::Pod;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::forward_to_deserialize_any;

/// Whether this target keeps numbers in little-endian order.
pub(super) const LITTLE_ENDIAN: bool = 1_u16.to_le() == 1;

/// Elements whose memory is their encoding; their types have no lifetimes.
trait Bulk: Pod + Deserialize<'static> {
    /// Whether that holds on this target: the format writes floats in little-endian order.
    const HOLDS: bool = LITTLE_ENDIAN || size_of::<Self>() == 1;
}

impl Bulk for u8 {}
impl Bulk for i8 {}
impl Bulk for f32 {}
impl Bulk for f64 {}

/// A sequence of the reader that is built from a block of bytes.
pub(super) struct Block<Value> {
    pub(super) element_size: usize,
    build: fn(&[u8]) -> Value,
}

impl<Value> Block<Value> {
    /// Builds the sequence; bytes that fill no element are left out.
    #[inline]
    pub(super) fn build(&self, bytes: &[u8]) -> Value {
        (self.build)(bytes)
    }
}

/// Gives the number of elements and their encoding, if `sequence` is a slice or `Vec` of [`Bulk`] elements.
#[inline]
pub(super) fn encoding_of<I>(sequence: &I) -> Option<(usize, &[u8])> {
    encoding::<I, u8>(sequence)
        .or_else(|| encoding::<I, i8>(sequence))
        .or_else(|| encoding::<I, f32>(sequence))
        .or_else(|| encoding::<I, f64>(sequence))
}

/// Tells how to build what `V` builds, if `V` is serde's visitor for a `Vec` of [`Bulk`] elements.
#[inline]
pub(super) fn block_of<'de, V: Visitor<'de>>() -> Option<Block<V::Value>> {
    block::<V, u8>()
        .or_else(block::<V, i8>)
        .or_else(block::<V, f32>)
        .or_else(block::<V, f64>)
}

#[inline]
fn encoding<I, T: Bulk>(sequence: &I) -> Option<(usize, &[u8])> {
    let elements = elements::<I, T>(sequence).filter(|_| T::HOLDS)?;
    Some((elements.len(), bytemuck::cast_slice(elements)))
}

#[inline]
fn elements<'a, I, T: Bulk>(sequence: &'a I) -> Option<&'a [T]> {
    let id = typeid::of::<I>();
    if id == TypeId::of::<&'static [T]>() {
        // SAFETY: typeid erases nothing but lifetimes, and `T` has none, so that `I` is `&'x [T]`; `'x` outlives `'a`
        // because `&'a I` exists.
        Some(unsafe { *ptr::from_ref(sequence).cast::<&'a [T]>() })
    } else if id == TypeId::of::<&'static Vec<T>>() {
        // SAFETY: as above, `I` is `&'x Vec<T>`.
        Some(unsafe { *ptr::from_ref(sequence).cast::<&'a Vec<T>>() })
    } else {
        None
    }
}

#[inline]
fn block<'de, V: Visitor<'de>, T: Bulk>() -> Option<Block<V::Value>> {
    let same_value = typeid::of::<V::Value>() == TypeId::of::<Vec<T>>();
    if !(T::HOLDS && same_value && Some(typeid::of::<V>()) == visitor_of_vec::<T>()) {
        return None;
    }
    Some(Block {
        element_size: size_of::<T>(),
        build: |bytes| {
            let value = ManuallyDrop::new(to_vec::<T>(bytes));
            // SAFETY: `V::Value` is `Vec<T>`: the ids are equal, typeid erases nothing but lifetimes, and `Vec<T>`
            // has none. The original is never dropped.
            unsafe { mem::transmute_copy::<ManuallyDrop<Vec<T>>, V::Value>(&value) }
        },
    })
}

#[inline]
fn to_vec<T: Bulk>(bytes: &[u8]) -> Vec<T> {
    let length = bytes.len() / size_of::<T>();
    let mut elements = Vec::<T>::with_capacity(length);
    // SAFETY: the new allocation has room for `length` elements, which are no more bytes than `bytes` has and do not
    // overlap it; any bytes are a valid `T` because `T: Pod`.
    unsafe {
        let start = elements.as_mut_ptr().cast::<u8>();
        ptr::copy_nonoverlapping(bytes.as_ptr(), start, length * size_of::<T>());
        elements.set_len(length);
    }
    elements
}

/// The id of the visitor that a `Vec<T>` brings to `deserialize_seq`.
#[inline]
fn visitor_of_vec<T: Bulk>() -> Option<TypeId> {
    Vec::<T>::deserialize(Probe).err().and_then(|seen| seen.0)
}

/// A deserializer that fails and tells the id of the visitor it was given.
struct Probe;

/// The visitor's id, if a sequence was asked for.
#[derive(Debug)]
struct Seen(Option<TypeId>);

impl<'de> Deserializer<'de> for Probe {
    type Error = Seen;

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Seen> {
        Err(Seen(Some(typeid::of::<V>())))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Seen> {
        Err(Seen(None))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl de::Error for Seen {
    fn custom<M: fmt::Display>(_message: M) -> Self {
        Seen(None)
    }
}

impl Error for Seen {}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
