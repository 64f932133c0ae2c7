//! What a scan writes down of one entry.

use crate::Metadata;
use crate::catalogue::BlockRef;
use crate::encoding::{Damaged, Reader, put_bytes};
use crate::entry::{Entry, put_metadata, take_metadata};

/// One entry of a folder as the scan found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// As in the catalogue; of a folder, everything below it too.
    Same(Entry),
    /// New or changed, anything but a folder.
    New { name: Vec<u8>, metadata: Metadata },
    /// A folder in which something changed.
    Folder {
        name: Vec<u8>,
        metadata: Metadata,
        /// Its entries, in the scan's file.
        block: BlockRef,
        /// Its entries in the catalogue.
        old: Option<BlockRef>,
    },
    /// It is there, but the system does not let us look at it.
    Failed { name: Vec<u8>, error: String },
}

const TAG_SAME: u8 = 0;
const TAG_NEW: u8 = 1;
const TAG_FOLDER: u8 = 2;
const TAG_FOLDER_WITH_OLD: u8 = 3;
const TAG_FAILED: u8 = 4;

pub(super) fn put_same(entry: &Entry, out: &mut Vec<u8>) {
    out.push(TAG_SAME);
    entry.put(out);
}

impl Found {
    pub(crate) fn name(&self) -> &[u8] {
        match self {
            Self::Same(entry) => &entry.name,
            Self::New { name, .. } | Self::Folder { name, .. } | Self::Failed { name, .. } => name,
        }
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Same(entry) => put_same(entry, out),
            Self::New { name, metadata } => {
                out.push(TAG_NEW);
                put_bytes(out, name);
                put_metadata(out, metadata);
            }
            Self::Folder {
                name,
                metadata,
                block,
                old,
            } => {
                out.push(if old.is_some() {
                    TAG_FOLDER_WITH_OLD
                } else {
                    TAG_FOLDER
                });
                put_bytes(out, name);
                put_metadata(out, metadata);
                block.put(out);
                if let Some(old) = old {
                    old.put(out);
                }
            }
            Self::Failed { name, error } => {
                out.push(TAG_FAILED);
                put_bytes(out, name);
                put_bytes(out, error.as_bytes());
            }
        }
    }

    pub(crate) fn take(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let tag = reader.byte()?;
        if tag == TAG_SAME {
            return Entry::take(reader).map(Self::Same);
        }
        let name = reader.bytes()?.to_vec();
        match tag {
            TAG_NEW => Ok(Self::New {
                name,
                metadata: take_metadata(reader)?,
            }),
            TAG_FOLDER | TAG_FOLDER_WITH_OLD => Ok(Self::Folder {
                name,
                metadata: take_metadata(reader)?,
                block: BlockRef::take(reader)?,
                old: if tag == TAG_FOLDER_WITH_OLD {
                    Some(BlockRef::take(reader)?)
                } else {
                    None
                },
            }),
            TAG_FAILED => Ok(Self::Failed {
                name,
                error: String::from_utf8_lossy(reader.bytes()?).into_owned(),
            }),
            _ => Err(Damaged),
        }
    }
}
