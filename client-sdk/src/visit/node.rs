//! From an entry to the node of a tree, as restic would write it.

use berth_repository::{ExtendedAttribute, FileMode, Node, NodeKind, Timestamp};

use crate::entry::{Content, Entry};
use crate::{FileKind, Source};

/// File types in `st_mode`.
const fn type_bits(kind: FileKind) -> u32 {
    match kind {
        FileKind::File | FileKind::Unknown => 0o100_000,
        FileKind::Folder => 0o040_000,
        FileKind::Symlink => 0o120_000,
        FileKind::Fifo => 0o010_000,
        FileKind::CharDevice => 0o020_000,
        FileKind::BlockDevice => 0o060_000,
        FileKind::Socket => 0o140_000,
    }
}

/// The node of `entry`. The time of the last access is that of the last change, as with restic: else every look at a
/// file would make new trees.
pub(super) fn node(entry: &Entry, source: &dyn Source) -> Node {
    let metadata = &entry.metadata;
    let time = |time: crate::Timestamp| Timestamp::from_unix(time.seconds, time.nanoseconds);
    let links = metadata.links;
    let device = metadata.device_number;
    let kind = match &entry.content {
        Content::File { size, chunks } => NodeKind::File {
            size: *size,
            links,
            content: chunks.clone(),
        },
        Content::Folder { tree, .. } => NodeKind::Dir { subtree: *tree },
        Content::Symlink(target) => NodeKind::Symlink {
            target: target.clone(),
            links,
        },
        Content::Nothing if metadata.kind == FileKind::BlockDevice => NodeKind::Dev { device, links },
        Content::Nothing if metadata.kind == FileKind::CharDevice => NodeKind::CharDev { device, links },
        Content::Nothing => NodeKind::Fifo,
    };
    Node {
        name: entry.name.clone(),
        kind,
        mode: FileMode::from_unix(metadata.mode | type_bits(metadata.kind)),
        mtime: time(metadata.modified),
        atime: time(metadata.modified),
        ctime: time(metadata.changed),
        uid: metadata.uid,
        gid: metadata.gid,
        user: source.user_name(metadata.uid),
        group: source.group_name(metadata.gid),
        inode: metadata.inode,
        device_id: metadata.device,
        extended_attributes: entry
            .xattrs
            .iter()
            .map(|(name, value)| ExtendedAttribute {
                name: String::from_utf8_lossy(name).into_owned(),
                value: value.clone(),
            })
            .collect(),
        error: String::new(),
    }
}
