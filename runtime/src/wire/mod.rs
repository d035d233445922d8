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

use self::codec::{CodecError, Sink};
use crate::arena::{Draft, Incoming, Outgoing};
use crate::error::{DecodeError, EncodeError};
use crate::sys::OwnedFd;

/// What a value is called in errors: "the item", "argument `text` of `count`".
pub(crate) type Subject<'a> = &'a dyn Fn() -> String;

/// Buffers above this size are not kept for the next message.
const KEEP: usize = 1 << 20;

thread_local! {
    static OUTBOUND: RefCell<Draft> = const { RefCell::new(Draft::new()) };
    static INBOUND: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Gives `encode` an empty draft, and `use_it` what is in it then with what `encode` collected beside.
#[inline]
pub(crate) fn with_draft<R>(
    encode: impl FnOnce(&mut Draft) -> Result<(), EncodeError>,
    use_it: impl FnOnce(&mut Draft, &mut Outgoing) -> R,
) -> Result<R, EncodeError> {
    /// Clears the draft in the end, by a panic too: what is large has memory that others may want.
    struct InUse<'a>(&'a mut Draft);

    impl Drop for InUse<'_> {
        #[inline]
        fn drop(&mut self) {
            self.0.clear();
        }
    }

    borrow(&OUTBOUND, |draft| {
        let draft = InUse(draft);
        Outgoing::collect(
            || encode(draft.0).map(|()| draft),
            |encoded, outgoing| encoded.map(|draft| use_it(draft.0, outgoing)),
        )
    })
}

/// Gives `use_it` a buffer for the bytes of a message that came.
#[inline]
pub(crate) fn with_bytes<R>(use_it: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    borrow(&INBOUND, |buffer| {
        let result = use_it(buffer);
        if buffer.capacity() > KEEP {
            *buffer = Vec::new();
        }
        result
    })
}

/// In place, because to move a vector costs more than what is done with most. A message that is encoded or decoded in the
/// middle of another one has a buffer of its own.
#[inline]
fn borrow<T: Default, R>(
    buffer: &'static LocalKey<RefCell<T>>,
    use_it: impl FnOnce(&mut T) -> R,
) -> R {
    buffer.with(|buffer| match buffer.try_borrow_mut() {
        Ok(mut buffer) => use_it(&mut buffer),
        Err(_) => use_it(&mut T::default()),
    })
}

impl Sink for Draft {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        self.write(bytes);
        Ok(())
    }

    #[inline]
    fn write_front<const N: usize>(
        &mut self,
        bytes: &[u8; N],
        length: usize,
    ) -> Result<(), CodecError> {
        match self.buffer_for(N) {
            Some(buffer) => buffer.write_front(bytes, length),
            None => Sink::write(self, bytes.get(..length).unwrap_or(bytes)),
        }
    }
}

/// Appends a value to a draft that [`with_draft`] gave, or to another buffer.
#[inline]
pub(crate) fn append<T: Serialize + ?Sized>(
    value: &T,
    sink: &mut impl Sink,
    subject: Subject<'_>,
) -> Result<(), EncodeError> {
    codec::encode(value, sink).map_err(|error| EncodeError::new::<T>(subject(), error.to_string()))
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
