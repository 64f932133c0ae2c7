//! Copies the blocks that are still in use to a new file, once most of the old one is of no use.

use std::io;

use super::{BlockFile, BlockRef};
use crate::encoding::Reader;
use crate::entry::{Content, Entry};

/// A file is left alone until so much of it is of no use.
const GARBAGE_BYTES_MIN: u64 = 16 * 1024 * 1024;

/// Whether a file of `length` bytes, `weight` of which are in use, should be copied.
pub(crate) fn is_due(length: u64, weight: u64) -> bool {
    length.saturating_sub(weight) > weight.max(GARBAGE_BYTES_MIN)
}

/// A folder on the way from the root to the one that is copied.
struct Folder {
    bytes: Vec<u8>,
    at: usize,
    out: Vec<u8>,
    /// This folder's entry in the one above.
    entry: Option<Entry>,
}

impl Folder {
    fn read(from: &mut BlockFile, block: BlockRef, entry: Option<Entry>) -> io::Result<Self> {
        Ok(Self {
            bytes: from.read(block)?,
            at: 0,
            out: Vec::new(),
            entry,
        })
    }
}

/// Copies the block `root` and all below it, and gives its new place. Holds one folder for each level of depth.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] for a damaged block; `from` is unchanged, `to` is of no use.
pub(crate) fn compact(from: &mut BlockFile, root: BlockRef, to: &mut BlockFile) -> io::Result<BlockRef> {
    let mut folders = vec![Folder::read(from, root, None)?];
    while let Some(mut folder) = folders.pop() {
        let mut reader = Reader(folder.bytes.get(folder.at..).unwrap_or_default());
        if reader.is_empty() {
            let block = to.append(&folder.out)?;
            let (Some(mut entry), Some(above)) = (folder.entry, folders.last_mut()) else {
                return Ok(block);
            };
            if let Content::Folder { block: place, .. } = &mut entry.content {
                *place = block;
            }
            entry.put(&mut above.out);
            continue;
        }
        let before = reader.0.len();
        let entry = Entry::take(&mut reader)
            .map_err(|damaged| io::Error::new(io::ErrorKind::InvalidData, damaged))?;
        folder.at += before - reader.0.len();
        match entry.block() {
            Some(block) => {
                folders.push(folder);
                folders.push(Folder::read(from, block, Some(entry))?);
            }
            None => {
                entry.put(&mut folder.out);
                folders.push(folder);
            }
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use berth_disk::{OsDisk, SharedDisk};
    use berth_repository::Id;

    use super::*;
    use crate::entry::tests::entry;

    #[test]
    fn a_copy_holds_what_is_in_use_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let disk: SharedDisk = Arc::new(OsDisk::open(folder.path()).unwrap());
        let mut from = BlockFile::create(disk.clone(), "1".into()).unwrap();
        let block_of = |file: &mut BlockFile, entries: &[Entry]| {
            let mut out = Vec::new();
            entries.iter().for_each(|entry| entry.put(&mut out));
            file.append(&out).unwrap()
        };
        let named = |name: &str, block| {
            let tree = Id::of(name.as_bytes());
            entry(
                name,
                Content::Folder {
                    tree,
                    block,
                    weight: 1,
                },
            )
        };
        from.append(&[0; 100_000]).unwrap();
        let inner = block_of(&mut from, &[entry("file", Content::Nothing)]);
        let empty = block_of(&mut from, &[]);
        let middle = block_of(
            &mut from,
            &[named("a", inner), entry("b", Content::Nothing), named("c", empty)],
        );
        let root = block_of(&mut from, &[named("r", middle)]);
        let mut to = BlockFile::create(disk, "2".into()).unwrap();
        let copied = compact(&mut from, root, &mut to).unwrap();
        assert!(to.length() < 1000, "{}", to.length());
        let below = |file: &mut BlockFile, block: BlockRef| {
            let bytes = file.read(block).unwrap();
            let mut reader = Reader(&bytes);
            let mut entries = Vec::new();
            while !reader.is_empty() {
                entries.push(Entry::take(&mut reader).unwrap());
            }
            entries
        };
        let middle = below(&mut to, copied)[0].block().unwrap();
        let names: Vec<_> = below(&mut to, middle)
            .iter()
            .map(|entry| entry.name.clone())
            .collect();
        assert_eq!(names, [b"a", b"b", b"c"]);
        let inner = below(&mut to, middle)[0].block().unwrap();
        assert_eq!(below(&mut to, inner), [entry("file", Content::Nothing)]);
    }
}
