//! Integers of variable length: seven bits to a byte, least significant first, the eighth bit says that more follow.
//!
//! Signed ones alternate ("zigzag": 0, -1, 1, -2, …), so that small ones are short whatever their sign.

use super::Sink;
use super::error::{CodecError, Kind};

macro_rules! varint {
    ($type:ident, $longest:literal, $write:ident, $read:ident) => {
        /// Writes `value`; the shortest form is the only one.
        #[inline]
        pub(super) fn $write<S: Sink>(sink: &mut S, mut value: $type) -> Result<(), CodecError> {
            if value < 0x80 {
                return sink.write(&[value as u8]);
            }
            let mut bytes = [0_u8; $longest];
            let mut length = 0;
            for byte in &mut bytes {
                length += 1;
                *byte = value as u8 & 0x7f;
                value >>= 7;
                if value == 0 {
                    break;
                }
                *byte |= 0x80;
            }
            sink.write_front(&bytes, length)
        }

        /// Takes an integer from the front of `bytes`.
        #[inline]
        pub(super) fn $read(bytes: &mut &[u8]) -> Result<$type, CodecError> {
            let mut value = 0;
            for (index, &byte) in bytes.iter().take($longest).enumerate() {
                let shift = 7 * index as u32;
                let part = $type::from(byte & 0x7f);
                if part > $type::MAX >> shift {
                    return Err(Kind::BadInteger.into());
                }
                value |= part << shift;
                if byte < 0x80 {
                    *bytes = bytes.get(index + 1..).unwrap_or_default();
                    return Ok(value);
                }
            }
            if bytes.len() < $longest {
                return Err(Kind::UnexpectedEnd {
                    needed: 1,
                    present: 0,
                }
                .into());
            }
            Err(Kind::BadInteger.into())
        }
    };
}

varint!(u64, 10, write, read);
varint!(u128, 19, write_wide, read_wide);

/// Maps a signed integer to the unsigned one that is written; the value is the same for all narrower types.
#[inline]
pub(super) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Maps back what [`zigzag`] mapped.
#[inline]
pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// [`zigzag`] for 128 bits.
#[inline]
pub(super) fn zigzag_wide(value: i128) -> u128 {
    ((value << 1) ^ (value >> 127)) as u128
}

/// [`unzigzag`] for 128 bits.
#[inline]
pub(super) fn unzigzag_wide(value: u128) -> i128 {
    (value >> 1) as i128 ^ -((value & 1) as i128)
}
