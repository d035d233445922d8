//! Why a value did not become bytes, or bytes did not become a value.

use std::error::Error;
use std::fmt::{self, Display};
use std::str::Utf8Error;

use serde::{de, ser};

/// Why encoding or decoding failed, and what to do about it.
pub(crate) struct CodecError(Box<Kind>);

impl CodecError {
    /// That of a sink that takes no more.
    #[cold]
    pub(crate) fn full() -> Self {
        Kind::Full.into()
    }
}

/// The causes; messages of `Serialize` and `Deserialize` implementations are kept as they are.
#[derive(Debug)]
pub(super) enum Kind {
    Custom(String),
    /// Of the sink.
    Full,
    // Of the type: the format cannot carry it.
    NotSelfDescribing {
        asked: &'static str,
    },
    MapOfUnknownLength,
    FieldSkipped {
        field: &'static str,
    },
    // Of the type's implementation of `Serialize` or `Deserialize`.
    WrongCount {
        claimed: usize,
        written: usize,
    },
    ElementsUnread {
        left: usize,
    },
    // Of the bytes.
    UnexpectedEnd {
        needed: usize,
        present: usize,
    },
    TooLong {
        claimed: u64,
        present: usize,
    },
    TooManyEmpty,
    BadInteger,
    BadTag {
        what: &'static str,
        found: u8,
    },
    BadChar,
    BadUtf8(Utf8Error),
}

impl From<Kind> for CodecError {
    #[cold]
    fn from(kind: Kind) -> Self {
        CodecError(Box::new(kind))
    }
}

impl ser::Error for CodecError {
    #[cold]
    fn custom<T: Display>(message: T) -> Self {
        Kind::Custom(message.to_string()).into()
    }
}

impl de::Error for CodecError {
    #[cold]
    fn custom<T: Display>(message: T) -> Self {
        Kind::Custom(message.to_string()).into()
    }
}

impl Error for CodecError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &*self.0 {
            Kind::BadUtf8(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Debug for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Full => f.write_str("there is no room for it"),
            Kind::Custom(message) => f.write_str(message),
            Kind::NotSelfDescribing { asked } => write!(
                f,
                "the type asks the data for its shape (`{asked}`), but the format is not self-describing; \
                 `#[serde(untagged)]`, `#[serde(tag = …)]`, `#[serde(flatten)]` and `serde_json::Value` need that: \
                 wrap the value in `mp::Json<T>`"
            ),
            Kind::MapOfUnknownLength => f.write_str(
                "the type is written as a map whose length is not known up front, as `#[serde(flatten)]` makes it; \
                 the format is not self-describing and could not read it back: wrap the value in `mp::Json<T>`",
            ),
            Kind::FieldSkipped { field } => write!(
                f,
                "field `{field}` is left out by `#[serde(skip_serializing_if)]`; the format is not self-describing, \
                 so that a reader could not tell: wrap the value in `mp::Json<T>`, or do not skip the field"
            ),
            Kind::WrongCount { claimed, written } => write!(
                f,
                "the type's `Serialize` announced {claimed} elements and wrote {written}; correct the length that it \
                 gives to `serialize_seq` or `serialize_map`"
            ),
            Kind::ElementsUnread { left } => write!(
                f,
                "the type's `Deserialize` left {left} elements of a sequence unread; sender and receiver must name \
                 the same type, and its visitor must read to the end"
            ),
            Kind::UnexpectedEnd { needed, present } => write!(
                f,
                "the bytes end inside of the value: {needed} more needed, {present} there; they were cut short, or \
                 are those of another type"
            ),
            Kind::TooLong { claimed, present } => write!(
                f,
                "a length of {claimed} is claimed where {present} bytes are left; they were cut short, or are those \
                 of another type"
            ),
            Kind::TooManyEmpty => f.write_str(
                "too many elements that take no bytes, such as `()` or structs whose fields are all skipped; \
                 send their number instead",
            ),
            Kind::BadInteger => f.write_str(
                "an integer does not fit its type; the bytes are damaged, or are those of another type",
            ),
            Kind::BadTag { what, found } => write!(
                f,
                "{found} is found where {what} is 0 or 1; the bytes are damaged, or are those of another type"
            ),
            Kind::BadChar => f.write_str(
                "not one char of UTF-8 is found where a `char` should be; the bytes are damaged, or are those of \
                 another type",
            ),
            Kind::BadUtf8(error) => write!(
                f,
                "a string is not UTF-8 ({error}); the bytes are damaged, or are those of another type"
            ),
        }
    }
}
