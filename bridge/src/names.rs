//! Names in the spool. What a file is stands in its name, so that a renamed file is a step that either was made or was
//! not, and a folder's listing is all that repair needs.
//!
//! Every name is made of numbers, kinds and hexadecimal ids, never of text that a laptop sent.

use berth_repository::Id;
use berth_wire::{ObjectKind, SetSeq, UploadId};

/// A laptop: its Ed25519 public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaptopId(pub [u8; 32]);

impl LaptopId {
    /// 64 lower-case hexadecimal digits: the laptop's folder in the spool.
    #[must_use]
    pub fn hex(&self) -> String {
        Id::new(self.0).to_string()
    }

    /// Reads [`LaptopId::hex`].
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        Id::from_hex(text).map(|id| Self(*id.as_bytes()))
    }
}

impl From<berth_pairing::DeviceId> for LaptopId {
    fn from(device: berth_pairing::DeviceId) -> Self {
        Self(device.0)
    }
}

/// The first eight digits, as people see it.
impl std::fmt::Display for LaptopId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", Id::new(self.0))
    }
}

/// The folders of one laptop.
#[derive(Debug, Clone)]
pub(crate) struct Folders {
    laptop: String,
}

/// Folder of all laptops.
pub(crate) const LAPTOPS: &str = "laptops";

impl Folders {
    pub(crate) fn of(laptop: &LaptopId) -> Self {
        Self {
            laptop: format!("{LAPTOPS}/{}", laptop.hex()),
        }
    }

    pub(crate) fn laptop(&self) -> &str {
        &self.laptop
    }

    pub(crate) fn repository(&self) -> String {
        format!("{}/repository", self.laptop)
    }

    /// Folder of all sets.
    pub(crate) fn sets(&self) -> String {
        format!("{}/sets", self.laptop)
    }

    /// Folder of one set.
    pub(crate) fn set(&self, set: SetSeq) -> String {
        format!("{}/sets/{set}", self.laptop)
    }

    pub(crate) fn pages(&self, set: SetSeq) -> String {
        format!("{}/sets/{set}/pages", self.laptop)
    }

    pub(crate) fn manifest(&self, set: SetSeq) -> String {
        format!("{}/sets/{set}/manifest", self.laptop)
    }

    /// The hub's signed word that the upstream has the set.
    pub(crate) fn upstream_receipt(&self, set: SetSeq) -> String {
        format!("{}/sets/{set}/upstream", self.laptop)
    }

    /// The hub's word that packs of the set may be missing here.
    pub(crate) fn reclaimed(&self, set: SetSeq) -> String {
        format!("{}/sets/{set}/reclaimed", self.laptop)
    }

    /// Folder of all visits under way.
    pub(crate) fn incoming_all(&self) -> String {
        format!("{}/incoming", self.laptop)
    }

    pub(crate) fn incoming(&self, set: SetSeq) -> String {
        format!("{}/incoming/{set}", self.laptop)
    }

    /// Folder of what could not be read, kept for whoever wants to know what it was.
    pub(crate) fn unreadable(&self) -> String {
        format!("{}/unreadable", self.laptop)
    }

    pub(crate) fn tails(&self) -> String {
        format!("{}/tails", self.laptop)
    }

    pub(crate) fn tail(&self, tail: &TailName) -> String {
        format!("{}/tails/{tail}", self.laptop)
    }

    /// Where a sealed object of `set` lies.
    pub(crate) fn object(&self, set: SetSeq, kind: ObjectKind, id: &Id) -> String {
        match kind {
            ObjectKind::Page => format!("{}/{id}", self.pages(set)),
            ObjectKind::Pack
            | ObjectKind::Index
            | ObjectKind::Snapshot
            | ObjectKind::Key
            | ObjectKind::Config => {
                format!("{}/{}", self.repository(), repository_path(kind, id))
            }
        }
    }
}

/// Where an object lies in a repository (restic's layout). A `Page` has no place there and is put beside `config`
/// under its id, which nothing does.
#[must_use]
pub fn repository_path(kind: ObjectKind, id: &Id) -> String {
    match kind {
        ObjectKind::Pack => {
            let hex = id.to_string();
            format!("data/{}/{hex}", hex.get(..2).unwrap_or_default())
        }
        ObjectKind::Index => format!("index/{id}"),
        ObjectKind::Snapshot => format!("snapshots/{id}"),
        ObjectKind::Key => format!("keys/{id}"),
        ObjectKind::Config => "config".to_owned(),
        ObjectKind::Page => id.to_string(),
    }
}

const KINDS: [(ObjectKind, &str); 6] = [
    (ObjectKind::Pack, "pack"),
    (ObjectKind::Index, "index"),
    (ObjectKind::Snapshot, "snapshot"),
    (ObjectKind::Page, "page"),
    (ObjectKind::Key, "key"),
    (ObjectKind::Config, "config"),
];

fn kind_word(kind: ObjectKind) -> &'static str {
    KINDS
        .iter()
        .find(|(one, _)| *one == kind)
        .map_or("", |(_, word)| word)
}

fn kind_of(word: &str) -> Option<ObjectKind> {
    KINDS.iter().find(|(_, one)| *one == word).map(|(kind, _)| *kind)
}

/// The number that `name` says, if it is written as the hub writes it.
pub(crate) fn set_seq(name: &str) -> Option<SetSeq> {
    let seq = name.parse().ok().map(SetSeq)?;
    (seq.to_string() == name).then_some(seq)
}

/// A file in `incoming/SET/` that is no upload: how far they reach, what is sealed, and what was being written.
pub(crate) fn is_of_a_visit(name: &str) -> bool {
    const NAMES: [&str; 7] = [
        "lengths",
        "checkpoint",
        "checkpoint.new",
        "commit",
        "commit.new",
        "finished",
        "salvaging",
    ];
    NAMES.contains(&name)
}

/// A file in `incoming/SET/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IncomingName {
    /// `NUMBER.KIND[.provisional][.ID]`: an upload; with its id once it is closed and verified.
    Upload {
        number: u32,
        kind: ObjectKind,
        provisional: bool,
        id: Option<Id>,
    },
    /// `salvaged.SET.NUMBER.ID`: a pack made of a tail.
    Salvaged { tail: UploadId, id: Id },
}

impl std::fmt::Display for IncomingName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Upload {
                number,
                kind,
                provisional,
                id,
            } => {
                write!(f, "{number}.{}", kind_word(*kind))?;
                if *provisional {
                    f.write_str(".provisional")?;
                }
                id.map_or(Ok(()), |id| write!(f, ".{id}"))
            }
            Self::Salvaged { tail, id } => write!(f, "salvaged.{}.{}.{id}", tail.set, tail.number),
        }
    }
}

impl IncomingName {
    /// `None`: none of these (the checkpoint, the commit, a file half written).
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let parts: Vec<&str> = name.split('.').collect();
        match parts.as_slice() {
            ["salvaged", set, number, id] => Some(Self::Salvaged {
                tail: UploadId {
                    set: SetSeq(set.parse().ok()?),
                    number: number.parse().ok()?,
                },
                id: Id::from_hex(id)?,
            }),
            [number, kind, rest @ ..] => {
                let (provisional, id) = match rest {
                    [] => (false, None),
                    ["provisional"] => (true, None),
                    [id] => (false, Some(Id::from_hex(id)?)),
                    ["provisional", id] => (true, Some(Id::from_hex(id)?)),
                    [..] => return None,
                };
                Some(Self::Upload {
                    number: number.parse().ok()?,
                    kind: kind_of(kind)?,
                    provisional,
                    id,
                })
            }
            [..] => None,
        }
    }
}

/// A file in `tails/`, `SET.NUMBER.START.SAFE`: the bytes of a cut upload from its very start, of which those below
/// `START` became a pack, and those below `SAFE` were synced before the cut (the others too, unless the power went).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TailName {
    pub(crate) upload: UploadId,
    pub(crate) start: u64,
    pub(crate) safe: u64,
}

impl std::fmt::Display for TailName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { upload, start, safe } = self;
        write!(f, "{}.{}.{start}.{safe}", upload.set, upload.number)
    }
}

impl TailName {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('.');
        let upload = UploadId {
            set: SetSeq(parts.next()?.parse().ok()?),
            number: parts.next()?.parse().ok()?,
        };
        let start = parts.next()?.parse().ok()?;
        let safe = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(Self { upload, start, safe })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back() {
        let id = Id::of(b"x");
        let tail = UploadId {
            set: SetSeq(3),
            number: 9,
        };
        let mut names = vec![IncomingName::Salvaged { tail, id }];
        for (kind, _) in KINDS {
            for provisional in [false, true] {
                for id in [None, Some(id)] {
                    names.push(IncomingName::Upload {
                        number: 7,
                        kind,
                        provisional,
                        id,
                    });
                }
            }
        }
        for name in names {
            assert_eq!(IncomingName::parse(&name.to_string()), Some(name));
        }
        let name = TailName {
            upload: tail,
            start: 5,
            safe: 9,
        };
        assert_eq!(TailName::parse(&name.to_string()), Some(name));
    }

    #[test]
    fn other_names_are_none_of_ours() {
        for name in [
            "checkpoint",
            "checkpoint.new",
            "1",
            "1.pack.zz",
            "x.pack",
            "1.2.3",
            "",
        ] {
            assert_eq!(IncomingName::parse(name), None, "{name}");
            assert_eq!(TailName::parse(name), None, "{name}");
        }
    }
}
