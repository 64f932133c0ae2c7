//! One entry of a folder as the archiver knows it: what the catalogue keeps and what a tree is made of.

use berth_repository::Id;

use crate::catalogue::BlockRef;
use crate::encoding::{Damaged, Reader, put_bytes, put_number, put_time};
use crate::{FileKind, Metadata, Xattrs};

/// What an entry holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// A file as it was read: `size` is the sum of its chunks.
    File { size: u64, chunks: Vec<Id> },
    /// A folder: its tree, and its entries in the catalogue. `weight`: bytes of its block and of all below it.
    Folder { tree: Id, block: BlockRef, weight: u64 },
    /// Where a symlink points.
    Symlink(Vec<u8>),
    /// A fifo or a device.
    Nothing,
}

/// A folder's entry, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    pub(crate) metadata: Metadata,
    pub(crate) xattrs: Xattrs,
    pub(crate) content: Content,
    /// To be read again at the next visit, whatever its metadata says: it changed while it was read, or so shortly
    /// before that a later change may not show in its times.
    pub(crate) unclean: bool,
}

const TAG_FILE: u8 = 0;
const TAG_FOLDER: u8 = 1;
const TAG_SYMLINK: u8 = 2;
const TAG_NOTHING: u8 = 3;
const FLAG_UNCLEAN: u8 = 0x10;
const TAG_MASK: u8 = 0x0f;

impl Entry {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let tag = match &self.content {
            Content::File { .. } => TAG_FILE,
            Content::Folder { .. } => TAG_FOLDER,
            Content::Symlink(_) => TAG_SYMLINK,
            Content::Nothing => TAG_NOTHING,
        };
        out.push(tag | if self.unclean { FLAG_UNCLEAN } else { 0 });
        put_bytes(out, &self.name);
        put_metadata(out, &self.metadata);
        put_number(out, self.xattrs.len() as u64);
        for (name, value) in &self.xattrs {
            put_bytes(out, name);
            put_bytes(out, value);
        }
        match &self.content {
            Content::File { size, chunks } => {
                put_number(out, *size);
                put_number(out, chunks.len() as u64);
                for chunk in chunks {
                    out.extend_from_slice(chunk.as_bytes());
                }
            }
            Content::Folder { tree, block, weight } => {
                out.extend_from_slice(tree.as_bytes());
                block.put(out);
                put_number(out, *weight);
            }
            Content::Symlink(target) => put_bytes(out, target),
            Content::Nothing => {}
        }
    }

    pub(crate) fn take(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let flags = reader.byte()?;
        let name = reader.bytes()?.to_vec();
        let metadata = take_metadata(reader)?;
        let mut xattrs = Vec::new();
        for _ in 0..reader.number()? {
            xattrs.push((reader.bytes()?.to_vec(), reader.bytes()?.to_vec()));
        }
        let content = match flags & TAG_MASK {
            TAG_FILE => {
                let size = reader.number()?;
                let count: usize = reader.small()?;
                let bytes = reader.take(count.checked_mul(32).ok_or(Damaged)?)?;
                let (ids, _) = bytes.as_chunks::<32>();
                Content::File {
                    size,
                    chunks: ids.iter().copied().map(Id::new).collect(),
                }
            }
            TAG_FOLDER => Content::Folder {
                tree: reader.id()?,
                block: BlockRef::take(reader)?,
                weight: reader.number()?,
            },
            TAG_SYMLINK => Content::Symlink(reader.bytes()?.to_vec()),
            TAG_NOTHING => Content::Nothing,
            _ => return Err(Damaged),
        };
        Ok(Self {
            name,
            metadata,
            xattrs,
            content,
            unclean: flags & FLAG_UNCLEAN != 0,
        })
    }

    /// Entries of a folder in the catalogue.
    pub(crate) fn block(&self) -> Option<BlockRef> {
        match self.content {
            Content::Folder { block, .. } => Some(block),
            Content::File { .. } | Content::Symlink(_) | Content::Nothing => None,
        }
    }

    /// Nothing says that it changed since it was recorded. The device is left out: its number may change when the
    /// computer starts anew.
    pub(crate) fn is_still(&self, found: &Metadata) -> bool {
        let then = Metadata {
            device: found.device,
            ..self.metadata
        };
        !self.unclean && then == *found
    }
}

pub(crate) fn put_metadata(out: &mut Vec<u8>, metadata: &Metadata) {
    out.push(match metadata.kind {
        FileKind::File => 0,
        FileKind::Folder => 1,
        FileKind::Symlink => 2,
        FileKind::Fifo => 3,
        FileKind::CharDevice => 4,
        FileKind::BlockDevice => 5,
        FileKind::Socket => 6,
        FileKind::Unknown => 7,
    });
    put_number(out, metadata.mode.into());
    put_number(out, metadata.uid.into());
    put_number(out, metadata.gid.into());
    put_number(out, metadata.size);
    put_time(out, metadata.modified);
    put_time(out, metadata.changed);
    put_number(out, metadata.inode);
    put_number(out, metadata.device);
    put_number(out, metadata.links);
    put_number(out, metadata.device_number);
}

pub(crate) fn take_metadata(reader: &mut Reader<'_>) -> Result<Metadata, Damaged> {
    Ok(Metadata {
        kind: match reader.byte()? {
            0 => FileKind::File,
            1 => FileKind::Folder,
            2 => FileKind::Symlink,
            3 => FileKind::Fifo,
            4 => FileKind::CharDevice,
            5 => FileKind::BlockDevice,
            6 => FileKind::Socket,
            7 => FileKind::Unknown,
            _ => return Err(Damaged),
        },
        mode: reader.small()?,
        uid: reader.small()?,
        gid: reader.small()?,
        size: reader.number()?,
        modified: reader.time()?,
        changed: reader.time()?,
        inode: reader.number()?,
        device: reader.number()?,
        links: reader.number()?,
        device_number: reader.number()?,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::Timestamp;

    pub(crate) fn entry(name: &str, content: Content) -> Entry {
        Entry {
            name: name.into(),
            metadata: Metadata {
                kind: FileKind::File,
                mode: 0o4755,
                uid: 1000,
                gid: 0,
                size: 7,
                modified: Timestamp {
                    seconds: -1,
                    nanoseconds: 999_999_999,
                },
                changed: Timestamp::default(),
                inode: u64::MAX,
                device: 1,
                links: 2,
                device_number: 0,
            },
            xattrs: vec![(b"user.a".to_vec(), b"\xff".to_vec())],
            content,
            unclean: true,
        }
    }

    #[test]
    fn an_entry_of_every_kind_comes_back() {
        let contents = [
            Content::File {
                size: 9,
                chunks: vec![Id::of(b"a"), Id::of(b"b")],
            },
            Content::Folder {
                tree: Id::of(b"t"),
                block: BlockRef { offset: 1, length: 2 },
                weight: 300,
            },
            Content::Symlink(b"\xff/x".to_vec()),
            Content::Nothing,
        ];
        for content in contents {
            let entry = entry("n", content);
            let mut bytes = Vec::new();
            entry.put(&mut bytes);
            assert_eq!(Entry::take(&mut Reader(&bytes)), Ok(entry));
            assert!(Entry::take(&mut Reader(&bytes[..bytes.len() - 1])).is_err() || bytes.is_empty());
        }
    }
}
