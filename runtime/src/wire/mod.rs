//! Values to bytes and back, with what travels beside the bytes: handles and descriptors.

mod codec;
mod json;
mod remote_error;

use std::cell::RefCell;

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

/// What a message is made with. A thread has one, because to make it costs more than to write a small message.
struct Desk {
    draft: Draft,
    outgoing: RefCell<Outgoing>,
}

thread_local! {
    static DESK: RefCell<Desk> = const { RefCell::new(Desk::new()) };
}

/// Gives `encode` an empty draft, and `use_it` what is in it then with what `encode` collected beside.
#[inline]
pub(crate) fn with_draft<R>(
    encode: impl FnOnce(&mut Draft) -> Result<(), EncodeError>,
    use_it: impl FnOnce(&mut Draft, &mut Outgoing) -> R,
) -> Result<R, EncodeError> {
    DESK.with(|desk| match desk.try_borrow_mut() {
        Ok(mut desk) => desk.make(encode, use_it),
        // In the middle of another message.
        Err(_) => Desk::new().make(encode, use_it),
    })
}

/// [`with_draft`] for a message that is to name no objects.
pub(crate) fn with_plain_draft<R>(
    encode: impl FnOnce(&mut Draft) -> Result<(), EncodeError>,
    use_it: impl FnOnce(&mut Draft, &mut Outgoing) -> R,
) -> Result<R, EncodeError> {
    let mut desk = Desk::new();
    desk.outgoing.get_mut().plain = true;
    desk.make(encode, use_it)
}

impl Desk {
    const fn new() -> Self {
        Self {
            draft: Draft::new(),
            outgoing: RefCell::new(Outgoing::new()),
        }
    }

    #[inline]
    fn make<R>(
        &mut self,
        encode: impl FnOnce(&mut Draft) -> Result<(), EncodeError>,
        use_it: impl FnOnce(&mut Draft, &mut Outgoing) -> R,
    ) -> Result<R, EncodeError> {
        /// Clears the desk in the end, by a panic too: what is on it has memory that others may want.
        struct InUse<'a>(&'a mut Desk);

        impl Drop for InUse<'_> {
            #[inline]
            fn drop(&mut self) {
                self.0.draft.clear();
                let outgoing = self.0.outgoing.get_mut();
                if !outgoing.is_empty() {
                    *outgoing = Outgoing::new();
                }
            }
        }

        let desk = InUse(self);
        let Desk { draft, outgoing } = &mut *desk.0;
        Outgoing::collect(outgoing, || encode(draft))?;
        Ok(use_it(draft, outgoing.get_mut()))
    }
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

/// A message of a few bytes that names no objects. What is larger, or names one, cannot be written here.
pub(crate) struct Small {
    buffer: [u8; SMALL],
    length: usize,
}

/// How many bytes a small message has at most.
pub(crate) const SMALL: usize = 32;

impl Small {
    #[inline]
    pub(crate) fn new() -> Self {
        Self {
            buffer: [0; SMALL],
            length: 0,
        }
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or(&self.buffer)
    }

    /// The first bytes as a number, the first of them the lowest.
    #[inline]
    pub(crate) fn front(&self) -> u64 {
        self.buffer
            .first_chunk()
            .map_or(0, |front| u64::from_le_bytes(*front))
    }

    /// Appends a value; `false` if it cannot be written here.
    #[inline]
    pub(crate) fn append<T: Serialize + ?Sized>(&mut self, value: &T) -> bool {
        codec::encode(value, self).is_ok()
    }
}

impl Sink for Small {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        let end = self.length + bytes.len();
        let room = self.buffer.get_mut(self.length..end);
        room.ok_or_else(CodecError::full)?.copy_from_slice(bytes);
        self.length = end;
        Ok(())
    }

    #[inline]
    fn write_front<const N: usize>(
        &mut self,
        bytes: &[u8; N],
        length: usize,
    ) -> Result<(), CodecError> {
        match self.buffer.get_mut(self.length..self.length + N) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.length += length;
                Ok(())
            }
            None => self.write(bytes.get(..length).unwrap_or(bytes)),
        }
    }
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
    all_taken(value, bytes, subject)
}

/// The same for a message that names no objects.
pub(crate) fn decode_plain<T: DeserializeOwned>(
    mut bytes: &[u8],
    fds: Vec<OwnedFd>,
    subject: Subject<'_>,
) -> Result<T, DecodeError> {
    let value = Incoming::provide_plain(fds, || take(&mut bytes, subject))?;
    all_taken(value, bytes, subject)
}

fn all_taken<T>(value: T, bytes: &[u8], subject: Subject<'_>) -> Result<T, DecodeError> {
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
