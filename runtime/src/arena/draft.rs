//! Messages that are being written.
//!
//! Most are small, and written into a buffer of the thread, from where they are copied to their place. With the first large
//! piece a message moves into a parcel, so that what is large is copied once: from where it is in the program to where it is
//! read.

use super::{Arena, Outgoing, Parcel, arena};
use crate::error::Result;

/// A message that is being written.
pub(crate) struct Draft {
    buffer: Vec<u8>,
    /// All that was written, if it is large.
    parcel: Option<Written>,
}

/// A parcel with bytes that are not written yet.
struct Written {
    parcel: Parcel,
    length: usize,
    capacity: usize,
}

/// A piece of this size makes a message large.
const LARGE: usize = 16 << 10;
/// What is added to the room for a large piece: small ones that may follow.
const SLACK: usize = 256;
/// How many objects a large message may name without being copied.
const ROOM: usize = 8;
/// Buffers above this size are not kept for the next message.
const KEEP: usize = 1 << 20;

impl Draft {
    pub(crate) const fn new() -> Self {
        Self {
            buffer: Vec::new(),
            parcel: None,
        }
    }

    /// Makes the draft empty again, for the next message.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.buffer.clear();
        if self.parcel.is_some() || self.buffer.capacity() > KEEP {
            *self = Self::new();
        }
    }

    /// Appends bytes.
    #[inline]
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        match self.buffer_for(bytes.len()) {
            Some(buffer) => buffer.extend_from_slice(bytes),
            None => self.write_large(bytes),
        }
    }

    /// The buffer, if a piece of this length belongs there.
    #[inline]
    pub(crate) fn buffer_for(&mut self, length: usize) -> Option<&mut Vec<u8>> {
        (self.parcel.is_none() && length < LARGE).then_some(&mut self.buffer)
    }

    #[cold]
    fn write_large(&mut self, bytes: &[u8]) {
        let needed = self.bytes().len() + bytes.len();
        if self
            .parcel
            .as_ref()
            .is_none_or(|written| written.capacity < needed)
        {
            // The first one has what it is likely to need; whoever needs more is likely to go on so.
            let capacity = match &self.parcel {
                None => needed + SLACK,
                Some(_) => needed * 2,
            };
            let moved = arena().and_then(|arena| Written::copy_of(arena, self.bytes(), capacity));
            match moved {
                Ok(written) => self.parcel = Some(written),
                // Without room there the message is written to its end here, for an error that tells its size.
                Err(_) => {
                    if let Some(written) = self.parcel.take() {
                        self.buffer.clear();
                        self.buffer.extend_from_slice(written.bytes());
                    }
                }
            }
        }
        match &mut self.parcel {
            Some(written) => written.write(bytes),
            None => self.buffer.extend_from_slice(bytes),
        }
    }

    /// What was written so far.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.parcel {
            None => &self.buffer,
            Some(written) => written.bytes(),
        }
    }

    /// Makes a parcel of the message and all that it carries besides.
    ///
    /// # Errors
    ///
    /// Those of [`Parcel::new`].
    pub(crate) fn finish(
        &mut self,
        arena: &'static Arena,
        outgoing: &mut Outgoing,
    ) -> Result<Parcel> {
        match self.parcel.take() {
            // One more for the descriptors.
            Some(mut written) if outgoing.objects.len() < ROOM => {
                written.parcel.set_length(written.length);
                written.parcel.attach(outgoing)?;
                Ok(written.parcel)
            }
            Some(written) => Parcel::new(arena, written.bytes(), outgoing),
            None => Parcel::new(arena, &self.buffer, outgoing),
        }
    }
}

impl Default for Draft {
    fn default() -> Self {
        Self::new()
    }
}

impl Written {
    fn copy_of(arena: &'static Arena, bytes: &[u8], capacity: usize) -> Result<Self> {
        let mut written = Self {
            parcel: Parcel::with_room(arena, capacity, ROOM)?,
            length: 0,
            capacity,
        };
        written.write(bytes);
        Ok(written)
    }

    fn write(&mut self, bytes: &[u8]) {
        self.parcel.write_at(self.length, bytes);
        self.length += bytes.len();
    }

    fn bytes(&self) -> &[u8] {
        &self.parcel.bytes()[..self.length]
    }
}
