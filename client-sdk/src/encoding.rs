//! How the archiver's own files on the laptop are written: numbers as LEB128, byte strings with their length before
//! them.
//!
//! Invariant: reading never panics and allocates no more than the input is long.

use berth_repository::Id;

use crate::Timestamp;

/// The bytes are not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a file of the archiver is damaged")]
pub(crate) struct Damaged;

/// Bits of a number in one byte of LEB128.
const GROUP_BITS: u32 = 7;

pub(crate) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 1 << GROUP_BITS {
        out.push(number.to_le_bytes()[0] | 1 << GROUP_BITS);
        number >>= GROUP_BITS;
    }
    out.push(number.to_le_bytes()[0]);
}

/// Small numbers of either sign stay short (zigzag).
pub(crate) fn put_signed(out: &mut Vec<u8>, number: i64) {
    put_number(out, ((number << 1) ^ (number >> 63)).cast_unsigned());
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn put_time(out: &mut Vec<u8>, time: Timestamp) {
    put_signed(out, time.seconds);
    put_number(out, time.nanoseconds.into());
}

/// Reads what the functions above wrote.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Damaged> {
        let (&first, rest) = self.0.split_first().ok_or(Damaged)?;
        self.0 = rest;
        Ok(first)
    }

    pub(crate) fn number(&mut self) -> Result<u64, Damaged> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(GROUP_BITS as usize) {
            let byte = self.byte()?;
            number |= u64::from(byte & !(1 << GROUP_BITS)) << shift;
            if byte < 1 << GROUP_BITS {
                return Ok(number);
            }
        }
        Err(Damaged)
    }

    pub(crate) fn small<T: TryFrom<u64>>(&mut self) -> Result<T, Damaged> {
        self.number()?.try_into().map_err(|_| Damaged)
    }

    pub(crate) fn signed(&mut self) -> Result<i64, Damaged> {
        let number = self.number()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Damaged> {
        let length = self.small()?;
        self.take(length)
    }

    pub(crate) fn id(&mut self) -> Result<Id, Damaged> {
        let (id, rest) = self.0.split_first_chunk::<32>().ok_or(Damaged)?;
        self.0 = rest;
        Ok(Id::new(*id))
    }

    pub(crate) fn time(&mut self) -> Result<Timestamp, Damaged> {
        Ok(Timestamp {
            seconds: self.signed()?,
            nanoseconds: self.small()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_size_come_back() {
        let mut out = Vec::new();
        let signed = [0, -1, 1, 63, -64, 64, i64::MIN, i64::MAX];
        for number in signed {
            put_signed(&mut out, number);
            put_number(&mut out, number.cast_unsigned());
        }
        let mut reader = Reader(&out);
        for number in signed {
            assert_eq!(reader.signed(), Ok(number));
            assert_eq!(reader.number(), Ok(number.cast_unsigned()));
        }
        assert!(reader.is_empty());
    }

    #[test]
    fn what_was_cut_short_is_damaged() {
        let mut out = Vec::new();
        put_bytes(&mut out, b"abc");
        assert_eq!(Reader(&out[..3]).bytes(), Err(Damaged));
        assert_eq!(Reader(&[0xff; 11]).number(), Err(Damaged));
    }
}
