//! Values to bytes and back, with what travels beside the bytes: handles and descriptors.

mod codec;
mod json;
mod remote_error;

use std::cell::RefCell;
use std::thread::LocalKey;

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

/// A buffer that a thread uses again and again.
type Buffer = RefCell<Vec<u8>>;

thread_local! {
    static OUTBOUND: Buffer = const { RefCell::new(Vec::new()) };
    static INBOUND: Buffer = const { RefCell::new(Vec::new()) };
}

/// Gives `encode` an empty buffer, and `use_it` what is in it then with what `encode` collected beside.
#[inline]
pub(crate) fn with_buffer<R>(
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    use_it: impl FnOnce(&[u8], &mut Outgoing) -> R,
) -> Result<R, EncodeError> {
    borrow(&OUTBOUND, |buffer| {
        buffer.clear();
        Outgoing::collect(
            || encode(buffer).map(|()| &*buffer),
            |encoded, outgoing| encoded.map(|bytes| use_it(bytes, outgoing)),
        )
    })
}

/// Gives `use_it` a buffer for the bytes of a message that came.
#[inline]
pub(crate) fn with_bytes<R>(use_it: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    borrow(&INBOUND, use_it)
}

/// In place, because to move a vector costs more than what is done with most. A message that is encoded or decoded in the
/// middle of another one has a buffer of its own.
#[inline]
fn borrow<R>(buffer: &'static LocalKey<Buffer>, use_it: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    buffer.with(|buffer| match buffer.try_borrow_mut() {
        Ok(mut buffer) => {
            let result = use_it(&mut buffer);
            if buffer.capacity() > KEEP {
                *buffer = Vec::new();
            }
            result
        }
        Err(_) => use_it(&mut Vec::new()),
    })
}

/// Appends a value to a buffer that [`with_buffer`] gave.
#[inline]
pub(crate) fn append<T: Serialize + ?Sized>(
    value: &T,
    buffer: &mut Vec<u8>,
    subject: Subject<'_>,
) -> Result<(), EncodeError> {
    codec::encode(value, buffer)
        .map_err(|error| EncodeError::new::<T>(subject(), error.to_string()))
}

/// Takes a value from the front of `bytes`, inside of [`Incoming::provide`].
#[inline]
pub(crate) fn take<'de, T: Deserialize<'de>>(
    bytes: &mut &'de [u8],
    subject: Subject<'_>,
) -> Result<T, DecodeError> {
    match codec::decode(bytes) {
        Ok((value, rest)) => {
            *bytes = rest;
            Ok(value)
        }
        Err(error) => Err(DecodeError::new::<T>(subject(), error.to_string())),
    }
}

/// Decodes a message that is one value.
#[inline]
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
        return Err(DecodeError::new::<T>(subject(), cause));
    }
    Ok(value)
}

impl From<RemoteError> for crate::error::Error {
    fn from(error: RemoteError) -> Self {
        crate::error::Error::Remote(error.into())
    }
}
