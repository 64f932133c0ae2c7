//! `incoming/SET/lengths`: how far the uploads of a cut visit are durable. A file's own size cannot say: after a power
//! cut it may count bytes that never reached the disk.
//!
//! One record a flush: count (u32 LE), so many of number (u32 LE) and length (u64 LE), and the first 8 bytes of the
//! SHA-256 of all that. A record that was cut off, and whatever follows it, does not count.

use std::collections::BTreeMap;

use berth_repository::Id;

use crate::spool::SyncedLength;

const ENTRY_SIZE_BYTES: usize = 4 + 8;
const SUM_SIZE_BYTES: usize = 8;

/// Largest file that is read: 64 KiB x 1,024 flushes.
pub(crate) const FILE_SIZE_BYTES_MAX: u64 = 64 * 1024 * 1024;

pub(crate) fn record(lengths: &[SyncedLength]) -> Vec<u8> {
    let count = u32::try_from(lengths.len()).unwrap_or(u32::MAX);
    let mut bytes = count.to_le_bytes().to_vec();
    for one in lengths.iter().take(count as usize) {
        bytes.extend_from_slice(&one.number.to_le_bytes());
        bytes.extend_from_slice(&one.length.to_le_bytes());
    }
    let sum = sum(&bytes);
    bytes.extend_from_slice(&sum);
    bytes
}

/// The longest length that any record names, by upload.
pub(crate) fn read(mut bytes: &[u8], into: &mut BTreeMap<u32, u64>) {
    while let Some((entries, rest)) = one_record(bytes) {
        for entry in entries.chunks_exact(ENTRY_SIZE_BYTES) {
            let (number, length) = entry.split_at(4);
            let number = u32::from_le_bytes(number.try_into().unwrap_or_default());
            let length = u64::from_le_bytes(length.try_into().unwrap_or_default());
            let known = into.entry(number).or_default();
            *known = length.max(*known);
        }
        bytes = rest;
    }
}

fn one_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (count, _) = bytes.split_at_checked(4)?;
    let entries_bytes = usize::try_from(u32::from_le_bytes(count.try_into().ok()?))
        .ok()?
        .checked_mul(ENTRY_SIZE_BYTES)?;
    let (body, rest) = bytes.split_at_checked(entries_bytes.checked_add(4)?)?;
    let (found, rest) = rest.split_at_checked(SUM_SIZE_BYTES)?;
    (found == sum(body)).then_some((body.get(4..)?, rest))
}

fn sum(bytes: &[u8]) -> [u8; SUM_SIZE_BYTES] {
    let mut sum = [0; SUM_SIZE_BYTES];
    let id = Id::of(bytes);
    if let Some(front) = id.as_bytes().get(..SUM_SIZE_BYTES) {
        sum.copy_from_slice(front);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_was_cut_off_does_not_count() {
        let one = |number, length| SyncedLength { number, length };
        let mut file = record(&[one(0, 10), one(1, 5)]);
        file.extend(record(&[]));
        let whole = file.len();
        file.extend(record(&[one(1, 9)]));
        for cut in whole..=file.len() {
            let mut found = BTreeMap::new();
            read(&file[..cut], &mut found);
            let second = if cut == file.len() { 9 } else { 5 };
            assert_eq!(found, BTreeMap::from([(0, 10), (1, second)]), "cut at {cut}");
        }
        let mut found = BTreeMap::new();
        read(&[0; 100], &mut found);
        read(&[255; 100], &mut found);
        assert!(found.is_empty());
    }
}
