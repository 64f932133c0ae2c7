//! One entry of a folder.
//!
//! Specification: restic's `internal/restic/node.go`: the JSON has these fields in this order, names quoted as in Go.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::json::{self, base64_bytes, is_default, null_is_default};
use crate::quote::{quote, unquote};
use crate::{FileMode, Id, Timestamp};

/// A file, folder or other entry, with everything that restic restores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Name in its folder: any bytes but `/` and NUL.
    pub name: Vec<u8>,
    /// What it is, with what only such a one has.
    pub kind: NodeKind,
    /// Permissions and type.
    pub mode: FileMode,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of the content or the metadata.
    pub ctime: Timestamp,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Name of the owner, empty if unknown.
    pub user: String,
    /// Name of the group, empty if unknown.
    pub group: String,
    /// `st_ino`. With `device_id` it tells which entries are hard links of each other.
    pub inode: u64,
    /// `st_dev`.
    pub device_id: u64,
    /// In the order in which the file system gave them.
    pub extended_attributes: Vec<ExtendedAttribute>,
    /// restic's note that the entry could not be read whole; empty if all went well.
    pub error: String,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// A regular file.
    File {
        /// Length in bytes.
        size: u64,
        /// `st_nlink`; restic restores hard links only where it is above 1.
        links: u64,
        /// The chunks, in order. Their lengths add up to `size`.
        content: Vec<Id>,
    },
    /// A folder.
    Dir {
        /// Id of its [`crate::Tree`].
        subtree: Id,
    },
    /// A symbolic link.
    Symlink {
        /// Any bytes. restic before 0.17 reads a target that is not UTF-8 with U+FFFD for each wrong byte.
        target: Vec<u8>,
        /// `st_nlink`.
        links: u64,
    },
    /// A block device.
    Dev {
        /// `st_rdev`.
        device: u64,
        /// `st_nlink`.
        links: u64,
    },
    /// A character device.
    CharDev {
        /// `st_rdev`.
        device: u64,
        /// `st_nlink`.
        links: u64,
    },
    /// A named pipe.
    Fifo,
    /// A socket. restic writes them; Berth leaves them out, since no program can use a restored one.
    Socket,
}

/// An extended attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtendedAttribute {
    /// Name with its namespace, such as `user.comment`. Not UTF-8: give it with U+FFFD, as restic does.
    pub name: String,
    /// Any bytes.
    #[serde(default, with = "base64_bytes")]
    pub value: Vec<u8>,
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        NodeJson::from(self).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        NodeJson::deserialize(from)?
            .try_into()
            .map_err(serde::de::Error::custom)
    }
}

/// The node as restic has it, every field in its place.
#[derive(Serialize, Deserialize)]
struct NodeJson<'a> {
    name: String,
    #[serde(rename = "type")]
    kind: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "is_default")]
    mode: FileMode,
    #[serde(default)]
    mtime: Timestamp,
    #[serde(default)]
    atime: Timestamp,
    #[serde(default)]
    ctime: Timestamp,
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    user: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    group: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "is_default")]
    inode: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    device_id: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    size: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    links: u64,
    #[serde(default, skip_serializing_if = "<[u8]>::is_empty", with = "json::lossy_text")]
    linktarget: Cow<'a, [u8]>,
    #[serde(
        default,
        skip_serializing_if = "<[u8]>::is_empty",
        serialize_with = "base64_bytes::serialize",
        deserialize_with = "raw_target"
    )]
    linktarget_raw: Cow<'a, [u8]>,
    #[serde(
        default,
        skip_serializing_if = "<[_]>::is_empty",
        deserialize_with = "null_is_default"
    )]
    extended_attributes: Cow<'a, [ExtendedAttribute]>,
    #[serde(default, skip_serializing_if = "is_default")]
    device: u64,
    #[serde(default)]
    content: Option<Cow<'a, [Id]>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subtree: Option<Id>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    error: Cow<'a, str>,
}

fn raw_target<'a, 'de, D: Deserializer<'de>>(from: D) -> Result<Cow<'a, [u8]>, D::Error> {
    base64_bytes::deserialize(from).map(Cow::Owned)
}

impl<'a> From<&'a Node> for NodeJson<'a> {
    fn from(node: &'a Node) -> Self {
        let mut json = Self {
            name: quote(&node.name),
            kind: Cow::Borrowed(node.kind.name()),
            mode: node.mode,
            mtime: node.mtime,
            atime: node.atime,
            ctime: node.ctime,
            uid: node.uid,
            gid: node.gid,
            user: Cow::Borrowed(&node.user),
            group: Cow::Borrowed(&node.group),
            inode: node.inode,
            device_id: node.device_id,
            size: 0,
            links: 0,
            linktarget: Cow::Borrowed(&[]),
            linktarget_raw: Cow::Borrowed(&[]),
            extended_attributes: Cow::Borrowed(&node.extended_attributes),
            device: 0,
            content: None,
            subtree: None,
            error: Cow::Borrowed(&node.error),
        };
        match &node.kind {
            NodeKind::File { size, links, content } => {
                (json.size, json.links) = (*size, *links);
                json.content = Some(Cow::Borrowed(content));
            }
            NodeKind::Dir { subtree } => json.subtree = Some(*subtree),
            NodeKind::Symlink { target, links } => {
                json.links = *links;
                (json.linktarget, json.linktarget_raw) = target_fields(target);
            }
            NodeKind::Dev { device, links } | NodeKind::CharDev { device, links } => {
                (json.device, json.links) = (*device, *links);
            }
            NodeKind::Fifo | NodeKind::Socket => {}
        }
        json
    }
}

/// `linktarget` for every restic, and `linktarget_raw`, which restic writes since 0.17, where the first can't hold it.
fn target_fields(target: &[u8]) -> (Cow<'_, [u8]>, Cow<'_, [u8]>) {
    let raw = if std::str::from_utf8(target).is_ok() {
        &[]
    } else {
        target
    };
    (Cow::Borrowed(target), Cow::Borrowed(raw))
}

impl TryFrom<NodeJson<'_>> for Node {
    type Error = &'static str;

    fn try_from(json: NodeJson<'_>) -> Result<Self, Self::Error> {
        let (links, device) = (json.links, json.device);
        let kind = match &*json.kind {
            "file" => NodeKind::File {
                size: json.size,
                links,
                content: json.content.map(Cow::into_owned).unwrap_or_default(),
            },
            "dir" => NodeKind::Dir {
                subtree: json.subtree.ok_or("a dir without subtree")?,
            },
            "symlink" if json.linktarget_raw.is_empty() => NodeKind::Symlink {
                target: json.linktarget.into_owned(),
                links,
            },
            "symlink" => NodeKind::Symlink {
                target: json.linktarget_raw.into_owned(),
                links,
            },
            "dev" => NodeKind::Dev { device, links },
            "chardev" => NodeKind::CharDev { device, links },
            "fifo" => NodeKind::Fifo,
            "socket" => NodeKind::Socket,
            _ => return Err("an unknown node type"),
        };
        Ok(Self {
            name: unquote(&json.name).ok_or("a name with a wrong escape")?,
            kind,
            mode: json.mode,
            mtime: json.mtime,
            atime: json.atime,
            ctime: json.ctime,
            uid: json.uid,
            gid: json.gid,
            user: json.user.into_owned(),
            group: json.group.into_owned(),
            inode: json.inode,
            device_id: json.device_id,
            extended_attributes: json.extended_attributes.into_owned(),
            error: json.error.into_owned(),
        })
    }
}

impl NodeKind {
    /// restic's word for it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::Dir { .. } => "dir",
            Self::Symlink { .. } => "symlink",
            Self::Dev { .. } => "dev",
            Self::CharDev { .. } => "chardev",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Written by restic 0.14, one of each kind; the last with `linktarget_raw` as restic 0.17 does.
    const WRITTEN_BY_RESTIC: &str = include_str!("../tests/fixtures/nodes.jsonl");

    #[test]
    fn every_kind_is_read_and_written_as_restic_does() {
        for text in WRITTEN_BY_RESTIC.lines() {
            let node: Node = json::from_slice(text.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(json::to_vec(&node)).unwrap(), text);
        }
    }

    #[test]
    fn names_and_targets_are_bytes() {
        let nodes: Vec<Node> = WRITTEN_BY_RESTIC
            .lines()
            .map(|text| json::from_slice(text.as_bytes()).unwrap())
            .collect();
        assert_eq!(nodes[1].name, b"b\xff<&\xc2\xa0");
        assert_eq!(
            nodes[7].kind,
            NodeKind::Symlink {
                target: b"\0\x01\x02\xfa\xfb\xfc".to_vec(),
                links: 0
            }
        );
    }

    fn kinds() -> impl Strategy<Value = NodeKind> {
        let id = any::<[u8; 32]>().prop_map(Id::new);
        let content = prop::collection::vec(id.clone(), 0..4);
        prop_oneof![
            (any::<u64>(), any::<u64>(), content).prop_map(|(size, links, content)| NodeKind::File {
                size,
                links,
                content
            }),
            id.prop_map(|subtree| NodeKind::Dir { subtree }),
            (any::<Vec<u8>>(), any::<u64>()).prop_map(|(target, links)| NodeKind::Symlink { target, links }),
            (any::<u64>(), any::<u64>()).prop_map(|(device, links)| NodeKind::Dev { device, links }),
            (any::<u64>(), any::<u64>()).prop_map(|(device, links)| NodeKind::CharDev { device, links }),
            Just(NodeKind::Fifo),
            Just(NodeKind::Socket),
        ]
    }

    prop_compose! {
        fn nodes()(
            name in any::<Vec<u8>>(),
            kind in kinds(),
            mode in any::<u32>(),
            times in any::<[(i64, u32); 3]>(),
            ids in any::<(u32, u32, u64, u64)>(),
            (user, group, error) in any::<(String, String, String)>(),
            attributes in any::<Vec<(String, Vec<u8>)>>(),
        ) -> Node {
            let [mtime, atime, ctime] = times.map(|(seconds, ns)| Timestamp::from_unix(seconds >> 26, ns));
            let (uid, gid, inode, device_id) = ids;
            let extended_attributes =
                attributes.into_iter().map(|(name, value)| ExtendedAttribute { name, value }).collect();
            let mode = FileMode::from_bits(mode);
            Node { name, kind, mode, mtime, atime, ctime, uid, gid, user, group, inode, device_id, extended_attributes, error }
        }
    }

    proptest! {
        #[test]
        fn every_node_comes_back(node in nodes()) {
            prop_assert_eq!(json::from_slice::<Node>(&json::to_vec(&node)).unwrap(), node);
        }
    }
}
