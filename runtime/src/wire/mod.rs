//! Values to bytes and back, with what travels beside the bytes: handles and descriptors.

mod codec;
mod json;
mod remote_error;

use std::cell::Cell;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use json::Json;
pub use remote_error::RemoteError;

use crate::arena::{Incoming, Outgoing};
use crate::error::{DecodeError, EncodeError};
use crate::sys::OwnedFd;

/// What a value is called in errors: "the item", "argument `text` of `count`".
pub(crate) type Subject<'a> = &'a dyn Fn() -> String;

/// Buffers above this size are not kept for the next message.
const KEEP: usize = 1 << 20;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Gives `encode` an empty buffer, and `use_it` what is in it then with what `encode` collected beside.
pub(crate) fn with_buffer<R>(
    carries_fds: bool,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    use_it: impl FnOnce(&[u8], Outgoing) -> R,
) -> Result<R, EncodeError> {
    let mut buffer = BUFFER.take();
    buffer.clear();
    let (result, outgoing) = Outgoing::collect(carries_fds, || encode(&mut buffer));
    let result = result.map(|()| use_it(&buffer, outgoing));
    if buffer.capacity() <= KEEP {
        BUFFER.set(buffer);
    }
    result
}

/// Appends a value to a buffer that [`with_buffer`] gave.
pub(crate) fn append<T: Serialize + ?Sized>(
    value: &T,
    buffer: &mut Vec<u8>,
    subject: Subject<'_>,
) -> Result<(), EncodeError> {
    codec::encode(value, buffer).map_err(|error| EncodeError {
        subject: subject(),
        type_name: std::any::type_name::<T>(),
        cause: error.to_string(),
    })
}

/// Takes a value from the front of `bytes`, inside of [`Incoming::provide`].
pub(crate) fn take<'de, T: Deserialize<'de>>(
    bytes: &mut &'de [u8],
    subject: Subject<'_>,
) -> Result<T, DecodeError> {
    match codec::decode(bytes) {
        Ok((value, rest)) => {
            *bytes = rest;
            Ok(value)
        }
        Err(error) => Err(decode_error::<T>(subject, error.to_string())),
    }
}

/// Decodes a message that is one value.
pub(crate) fn decode<T: DeserializeOwned>(
    mut bytes: &[u8],
    fds: Vec<OwnedFd>,
    subject: Subject<'_>,
) -> Result<T, DecodeError> {
    let value = Incoming::provide(fds, || take(&mut bytes, subject))?;
    if !bytes.is_empty() {
        let cause = format!(
            "{} bytes are left over; sender and receiver must name the same type",
            bytes.len()
        );
        return Err(decode_error::<T>(subject, cause));
    }
    Ok(value)
}

fn decode_error<T>(subject: Subject<'_>, cause: String) -> DecodeError {
    DecodeError {
        subject: subject(),
        type_name: std::any::type_name::<T>(),
        cause,
    }
}

impl From<RemoteError> for crate::error::Error {
    fn from(error: RemoteError) -> Self {
        crate::error::Error::Remote(error.into())
    }
}
