//! Files with several names: read once.

use std::collections::BTreeMap;

use crate::Metadata;
use crate::entry::{Content, Entry};

/// Files remembered; of more, some are read once for each name.
const FILES_MAX: usize = 32 * 1024;

/// Chunks of these files in all (8 MiB): a long file with many names is worth it, many long ones are not.
const CHUNKS_MAX: usize = 256 * 1024;

/// What was read of files with several names, by device and inode.
#[derive(Default)]
pub(super) struct Links {
    files: BTreeMap<(u64, u64), Entry>,
    chunks: usize,
}

impl Links {
    pub(super) fn remember(&mut self, entry: &Entry) {
        let Content::File { chunks, .. } = &entry.content else {
            return;
        };
        if entry.metadata.links > 1
            && !entry.unclean
            && self.files.len() < FILES_MAX
            && self.chunks + chunks.len() <= CHUNKS_MAX
        {
            self.chunks += chunks.len();
            let key = (entry.metadata.device, entry.metadata.inode);
            self.files.insert(key, entry.clone());
        }
    }

    /// The entry for another name of a file that was read, if nothing says that it changed since.
    pub(super) fn find(&self, name: &[u8], metadata: &Metadata) -> Option<Entry> {
        let entry = self.files.get(&(metadata.device, metadata.inode))?;
        (metadata.links > 1 && entry.metadata == *metadata).then(|| Entry {
            name: name.to_vec(),
            ..entry.clone()
        })
    }
}
