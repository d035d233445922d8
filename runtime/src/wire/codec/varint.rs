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
            let mut buffer = [0_u8; $longest];
            let mut length = 0;
            for byte in &mut buffer {
                length += 1;
                *byte = value as u8 | 0x80;
                value >>= 7;
                if value == 0 {
                    *byte &= 0x7f;
                    break;
                }
            }
            sink.write(&buffer[..length])
        }

        /// Takes an integer from the front of `bytes`.
        #[inline]
        pub(super) fn $read(bytes: &mut &[u8]) -> Result<$type, CodecError> {
            let mut value = 0;
            for shift in (0..$type::BITS).step_by(7) {
                let Some((&byte, rest)) = bytes.split_first() else {
                    return Err(Kind::UnexpectedEnd {
                        needed: 1,
                        present: 0,
                    }
                    .into());
                };
                *bytes = rest;
                let part = $type::from(byte & 0x7f);
                if (part << shift) >> shift != part {
                    break;
                }
                value |= part << shift;
                if byte < 0x80 {
                    return Ok(value);
                }
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
