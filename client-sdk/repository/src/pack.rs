//! Pack headers. A pack is sealed blobs one after the other, then a sealed header that lists them, then its length.
//!
//! Specification: restic's design, section "Pack Format".

use std::num::NonZeroU32;

use crate::limits::PACK_HEADER_BYTES_MAX;
use crate::{BlobKind, Id, MasterKey, Nonce, OpenError, PackBlob, SEAL_OVERHEAD_BYTES};

/// Header entry of an uncompressed blob: type, sealed length, id.
const ENTRY_BYTES: usize = 1 + 4 + 32;
/// Header entry of a compressed blob: type, sealed length, raw length, id.
const COMPRESSED_ENTRY_BYTES: usize = 1 + 4 + 4 + 32;
/// The header's length, little-endian, at the very end.
const LENGTH_FIELD_BYTES: usize = 4;

/// Length in bytes of what [`header_bytes`] gives.
#[must_use]
pub fn header_size_bytes(blobs: &[PackBlob]) -> usize {
    let entries: usize = blobs
        .iter()
        .map(|blob| entry_size_bytes(blob.uncompressed_length.is_some()))
        .sum();
    ending_size_bytes(entries)
}

/// Length of a sealed header and its length field, with this many bytes of entries.
pub(crate) const fn ending_size_bytes(entries_bytes: usize) -> usize {
    entries_bytes + SEAL_OVERHEAD_BYTES + LENGTH_FIELD_BYTES
}

/// The sealed header and its length field for a pack of exactly these blobs. Offsets are not in it: the blobs follow
/// each other from the start of the pack.
#[must_use]
pub fn header_bytes(key: &MasterKey, nonce: Nonce, blobs: &[PackBlob]) -> Vec<u8> {
    let mut entries = Vec::with_capacity(blobs.len() * COMPRESSED_ENTRY_BYTES);
    for blob in blobs {
        let kind = match (blob.kind, blob.uncompressed_length) {
            (BlobKind::Data, None) => 0,
            (BlobKind::Tree, None) => 1,
            (BlobKind::Data, Some(_)) => 2,
            (BlobKind::Tree, Some(_)) => 3,
        };
        entries.push(kind);
        entries.extend_from_slice(&blob.length.to_le_bytes());
        if let Some(length) = blob.uncompressed_length {
            entries.extend_from_slice(&length.get().to_le_bytes());
        }
        entries.extend_from_slice(blob.id.as_bytes());
    }
    let mut header = Vec::with_capacity(entries.len() + SEAL_OVERHEAD_BYTES + LENGTH_FIELD_BYTES);
    key.seal_into(nonce, &entries, &mut header);
    let length = u32::try_from(header.len()).expect("a pack's entries are far below 4 GiB");
    header.extend_from_slice(&length.to_le_bytes());
    header
}

/// Reads the header of a pack from `tail`, any number of its last bytes that includes it.
///
/// # Errors
/// [`OpenError::PackHeader`] if `tail` is too short for the header or the header is malformed, and what
/// [`MasterKey::open`] gives.
pub fn parse_header(key: &MasterKey, tail: &[u8]) -> Result<Vec<PackBlob>, OpenError> {
    let (rest, length) = tail
        .split_last_chunk::<LENGTH_FIELD_BYTES>()
        .ok_or(OpenError::PackHeader)?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > PACK_HEADER_BYTES_MAX {
        return Err(OpenError::TooLarge {
            max_bytes: PACK_HEADER_BYTES_MAX,
        });
    }
    let sealed = rest
        .len()
        .checked_sub(length)
        .and_then(|start| rest.get(start..))
        .ok_or(OpenError::PackHeader)?;
    parse_entries(&key.open(sealed)?)
}

/// Reads the header of a whole pack and checks that its blobs fill the pack exactly.
///
/// # Errors
/// Those of [`parse_header`].
pub fn parse_pack(key: &MasterKey, pack: &[u8]) -> Result<Vec<PackBlob>, OpenError> {
    let blobs = parse_header(key, pack)?;
    let blobs_bytes = blobs.last().map_or(0, PackBlob::end);
    if blobs_bytes + header_size_bytes(&blobs) as u64 == pack.len() as u64 {
        Ok(blobs)
    } else {
        Err(OpenError::PackHeader)
    }
}

fn parse_entries(mut entries: &[u8]) -> Result<Vec<PackBlob>, OpenError> {
    let mut blobs = Vec::with_capacity(entries.len() / ENTRY_BYTES);
    let mut offset = 0_u32;
    while let Some((&kind, rest)) = entries.split_first() {
        let (kind, compressed) = match kind {
            0 => (BlobKind::Data, false),
            1 => (BlobKind::Tree, false),
            2 => (BlobKind::Data, true),
            3 => (BlobKind::Tree, true),
            _ => return Err(OpenError::PackHeader),
        };
        entries = rest;
        let length = u32::from_le_bytes(take(&mut entries)?);
        let uncompressed_length = if compressed {
            let length = NonZeroU32::new(u32::from_le_bytes(take(&mut entries)?));
            Some(length.ok_or(OpenError::PackHeader)?)
        } else {
            None
        };
        let id = Id::new(take(&mut entries)?);
        blobs.push(PackBlob {
            id,
            kind,
            offset,
            length,
            uncompressed_length,
        });
        offset = offset.checked_add(length).ok_or(OpenError::PackHeader)?;
    }
    Ok(blobs)
}

fn take<const N: usize>(from: &mut &[u8]) -> Result<[u8; N], OpenError> {
    let (bytes, rest) = from.split_first_chunk::<N>().ok_or(OpenError::PackHeader)?;
    *from = rest;
    Ok(*bytes)
}

pub(crate) const fn entry_size_bytes(compressed: bool) -> usize {
    if compressed {
        COMPRESSED_ENTRY_BYTES
    } else {
        ENTRY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng as _;

    use super::*;
    use crate::{PackBuilder, SealedBlob, Sealer, open_blob};

    fn key() -> MasterKey {
        MasterKey::generate(&mut ChaCha8Rng::seed_from_u64(7))
    }

    fn blobs(plains: &[Vec<u8>]) -> Vec<SealedBlob> {
        let mut sealer = Sealer::new(key(), 1).unwrap();
        plains
            .iter()
            .enumerate()
            .map(|(number, plain)| {
                let kind = if number % 3 == 0 {
                    BlobKind::Tree
                } else {
                    BlobKind::Data
                };
                sealer
                    .seal(kind, Id::of(plain), plain, [number as u8; 16])
                    .unwrap()
            })
            .collect()
    }

    proptest! {
        #[test]
        fn every_pack_can_be_read_back(plains in prop::collection::vec(any::<Vec<u8>>(), 1..20), repeat in 1_usize..9) {
            let plains: Vec<Vec<u8>> = plains.iter().map(|plain| plain.repeat(repeat)).collect();
            let (mut pack, mut builder) = (Vec::new(), PackBuilder::new());
            for blob in blobs(&plains) {
                prop_assert_eq!(builder.add(&blob).unwrap() as usize, pack.len());
                pack.extend_from_slice(&blob.bytes);
                prop_assert_eq!(builder.length() as usize, pack.len());
                prop_assert_eq!(builder.prefix_digest(), Id::of(&pack));
                let closed = builder.would_be(&key(), [5; 16]);
                prop_assert_eq!(closed.header.len(), builder.header_size_bytes());
                prop_assert_eq!(closed.id, Id::of(&[pack.as_slice(), &closed.header].concat()));
            }
            let (closed, entries) = builder.close(&key(), [6; 16]);
            pack.extend_from_slice(&closed.header);
            prop_assert_eq!(closed.id, Id::of(&pack));
            prop_assert_eq!(header_size_bytes(&entries), closed.header.len());
            prop_assert_eq!(&parse_pack(&key(), &pack).unwrap(), &entries);
            prop_assert_eq!(&parse_header(&key(), &closed.header).unwrap(), &entries);
            for (entry, plain) in entries.iter().zip(&plains) {
                let sealed = &pack[entry.offset as usize..][..entry.length as usize];
                prop_assert_eq!(&open_blob(&key(), entry, sealed).unwrap(), plain);
            }
        }

        #[test]
        fn hostile_headers_never_panic(entries: Vec<u8>) {
            let mut header = key().seal([1; 16], &entries);
            header.extend_from_slice(&(header.len() as u32).to_le_bytes());
            let _ = parse_pack(&key(), &header);
            let _ = parse_pack(&key(), &entries);
        }
    }

    /// Entries as in restic's `doc/design.rst`: type, length, length before compression for types 2 and 3, id.
    #[test]
    fn header_entries_are_laid_out_as_specified() {
        let entry = |kind, uncompressed| PackBlob {
            id: Id::new([0xaa; 32]),
            kind,
            offset: 0,
            length: 0x0102,
            uncompressed_length: NonZeroU32::new(uncompressed),
        };
        let blobs = [
            entry(BlobKind::Data, 0),
            entry(BlobKind::Tree, 0),
            entry(BlobKind::Data, 0x0304),
            entry(BlobKind::Tree, 0x0304),
        ];
        let header = header_bytes(&key(), [1; 16], &blobs);
        let (sealed, length) = header.split_at(header.len() - 4);
        assert_eq!(length, (sealed.len() as u32).to_le_bytes());
        let id = [0xaa; 32];
        let expected = [
            &[0, 2, 1, 0, 0][..],
            &id,
            &[1, 2, 1, 0, 0],
            &id,
            &[2, 2, 1, 0, 0, 4, 3, 0, 0],
            &id,
            &[3, 2, 1, 0, 0, 4, 3, 0, 0],
            &id,
        ]
        .concat();
        assert_eq!(key().open(sealed).unwrap(), expected);
    }

    #[test]
    fn header_that_does_not_fit_its_pack_is_refused() {
        let closed = {
            let mut builder = PackBuilder::new();
            builder.add(&blobs(&[b"content".to_vec()])[0]).unwrap();
            builder.close(&key(), [1; 16]).0
        };
        assert!(matches!(
            parse_pack(&key(), &closed.header),
            Err(OpenError::PackHeader)
        ));
        for cut in [1, 4, 20] {
            assert!(parse_header(&key(), &closed.header[cut..]).is_err());
        }
        let mut overflow = key().seal(
            [2; 16],
            &[&[0, 0xff, 0xff, 0xff, 0xff][..], &[0; 32]].concat().repeat(2),
        );
        overflow.extend_from_slice(&(overflow.len() as u32).to_le_bytes());
        assert!(matches!(
            parse_header(&key(), &overflow),
            Err(OpenError::PackHeader)
        ));
        assert!(matches!(
            parse_header(&key(), &[0xff; 8]),
            Err(OpenError::TooLarge { .. })
        ));
    }
}
