//! A made-up laptop: its chunks are noise, its packs and manifests are honest.

use std::collections::BTreeMap;
use std::sync::Arc;

use berth_bridge::LaptopId;
use berth_pairing::Identity;
use berth_repository::Id;
use berth_wire::{
    MANIFEST_CONTEXT, Manifest, Mark, ObjectEntry, ObjectKind, OpenPack, PAGE_ENTRIES, SetKind, SetRef,
    SetSeq, Signed, Tail, ToHub, ToLaptop, UploadId,
};

use crate::hub::{Hub, Session, identity};

/// Noise that depends on `seed` alone.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

pub(crate) fn path(kind: ObjectKind, id: &Id) -> String {
    let hex = id.to_string();
    match kind {
        ObjectKind::Pack => format!("data/{}/{hex}", &hex[..2]),
        ObjectKind::Index => format!("index/{hex}"),
        ObjectKind::Snapshot => format!("snapshots/{hex}"),
        ObjectKind::Key => format!("keys/{hex}"),
        ObjectKind::Config => "config".to_owned(),
        ObjectKind::Page => unreachable!("pages are no objects of a repository"),
    }
}

/// All entries of a sealed set's manifest.
pub(crate) fn entries(hub: &Hub, laptop: LaptopId, manifest: &Manifest) -> Vec<ObjectEntry> {
    use berth_disk::Disk as _;
    let folder = berth_bridge::Spool::repository_folder(&laptop).replace("/repository", "");
    let mut entries = Vec::new();
    for page in &manifest.pages {
        let path = format!("{folder}/sets/{}/pages/{page}", manifest.set);
        let bytes = hub.disk.read(&path, 1 << 20).unwrap();
        assert_eq!(Id::of(&bytes), *page);
        entries.extend(berth_wire::decode::<Vec<ObjectEntry>>(&bytes).unwrap());
    }
    entries.extend_from_slice(&manifest.tail);
    entries
}

/// What the laptop sent of one upload of a pack.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sent {
    pub(crate) bytes: Vec<u8>,
    /// Bytes of it that an acknowledged mark covers.
    pub(crate) acknowledged: usize,
    /// Packs that hold a prefix of it, with that prefix's length: by a checkpoint, or whole by a Close.
    pub(crate) packs: Vec<(Id, usize)>,
}

pub(crate) struct Laptop {
    pub(crate) identity: Arc<Identity>,
    pub(crate) id: LaptopId,
    pub(crate) config: Vec<u8>,
    pub(crate) last: Option<SetRef>,
    /// Every pack upload of every visit.
    pub(crate) sent: BTreeMap<UploadId, Sent>,
    seed: u64,
}

/// A visit from the laptop's side.
pub(crate) struct Visiting<'a> {
    pub(crate) laptop: &'a mut Laptop,
    pub(crate) session: Session,
    pub(crate) set: SetSeq,
    pub(crate) tails: Vec<Tail>,
    pub(crate) entries: Vec<ObjectEntry>,
    pub(crate) pages: Vec<Id>,
    /// The entries in `pages`.
    paged: Vec<ObjectEntry>,
    provisional: Vec<ObjectEntry>,
    next_number: u32,
    next_mark: u32,
    hub: [u8; 32],
    fresh: bool,
}

impl Laptop {
    pub(crate) fn new(seed: u8) -> Self {
        let identity = identity(seed);
        Self {
            id: identity.device().into(),
            identity,
            config: noise(u64::from(seed), 155),
            last: None,
            sent: BTreeMap::new(),
            seed: u64::from(seed) << 32,
        }
    }

    pub(crate) fn noise(&mut self, length: usize) -> Vec<u8> {
        self.seed += 1;
        noise(self.seed, length)
    }

    /// Begins a visit; panics if the hub refuses.
    pub(crate) fn visit<'a>(&'a mut self, hub: &Hub) -> Visiting<'a> {
        self.try_visit(hub).expect("a Welcome")
    }

    pub(crate) fn try_visit<'a>(&'a mut self, hub: &Hub) -> Option<Visiting<'a>> {
        let mut session = hub.visit(self.id);
        let answer = session.ask(ToHub::Begin {
            protocol: 1,
            repository: Id::of(&self.config),
            last: self.last,
        });
        let Some(ToLaptop::Welcome {
            set,
            last,
            repository,
            tails,
            ..
        }) = answer
        else {
            return None;
        };
        self.last = last;
        Some(Visiting {
            laptop: self,
            session,
            set,
            tails,
            entries: Vec::new(),
            pages: Vec::new(),
            paged: Vec::new(),
            provisional: Vec::new(),
            next_number: 0,
            next_mark: 1,
            hub: hub.identity.device().0,
            fresh: repository.is_none(),
        })
    }
}

impl Visiting<'_> {
    pub(crate) fn open_set(&mut self) {
        self.session.say(ToHub::OpenSet { created_at_ns: 5 });
        if self.fresh {
            let config = self.laptop.config.clone();
            self.whole(ObjectKind::Config, &config, false);
            let key = self.laptop.noise(400);
            self.whole(ObjectKind::Key, &key, false);
        }
    }

    pub(crate) fn open(&mut self, kind: ObjectKind, provisional: bool) -> UploadId {
        let upload = UploadId {
            set: self.set,
            number: self.next_number,
        };
        self.next_number += 1;
        self.session.say(ToHub::Open {
            upload,
            kind,
            provisional,
        });
        if kind == ObjectKind::Pack && !provisional {
            self.laptop.sent.insert(upload, Sent::default());
        }
        upload
    }

    /// Sends one chunk of a pack.
    pub(crate) fn chunk(&mut self, upload: UploadId, length: usize) {
        let bytes = self.laptop.noise(length);
        for piece in bytes.chunks(60_000) {
            self.session.data(upload, piece);
        }
        let sent = self.laptop.sent.get_mut(&upload).unwrap();
        sent.bytes.extend_from_slice(&bytes);
    }

    /// Sends a header and closes a pack.
    pub(crate) fn close(&mut self, upload: UploadId) -> Id {
        self.chunk(upload, 77);
        let sent = self.laptop.sent.get_mut(&upload).unwrap();
        let id = Id::of(&sent.bytes);
        let length = sent.bytes.len() as u64;
        sent.packs.push((id, sent.bytes.len()));
        self.session.say(ToHub::Close { upload, id, length });
        self.entries.push(ObjectEntry {
            kind: ObjectKind::Pack,
            id,
            length,
        });
        id
    }

    pub(crate) fn whole(&mut self, kind: ObjectKind, bytes: &[u8], provisional: bool) -> Id {
        let upload = self.open(kind, provisional);
        self.session.data(upload, bytes);
        let (id, length) = (Id::of(bytes), bytes.len() as u64);
        self.session.say(ToHub::Close { upload, id, length });
        let entry = ObjectEntry { kind, id, length };
        match (kind, provisional) {
            (ObjectKind::Page, _) => self.pages.push(id),
            (_, false) => self.entries.push(entry),
            (_, true) => self.provisional.push(entry),
        }
        id
    }

    /// Turns the first entries into a page while there are enough of them.
    pub(crate) fn page(&mut self) {
        while self.entries.len() >= PAGE_ENTRIES {
            let page: Vec<ObjectEntry> = self.entries.drain(..PAGE_ENTRIES).collect();
            let bytes = berth_wire::encode(&page).unwrap();
            self.paged.extend(page);
            self.whole(ObjectKind::Page, &bytes, false);
        }
    }

    pub(crate) fn manifest(
        &self,
        kind: SetKind,
        mark: u32,
        snapshot: Id,
        tail: Vec<ObjectEntry>,
    ) -> Manifest {
        let all = || self.paged.iter().chain(&tail);
        Manifest {
            format: 1,
            laptop: self.laptop.id.0,
            hub: self.hub,
            repository: Id::of(&self.laptop.config),
            set: self.set,
            kind,
            mark,
            previous: self.laptop.last,
            snapshot,
            created_at_ns: 5,
            pages: self.pages.clone(),
            objects: all().count() as u64,
            bytes: all().map(|entry| entry.length).sum(),
            tail,
            not_read: 0,
        }
    }

    pub(crate) fn sign(&self, manifest: &Manifest) -> Signed {
        let body = berth_wire::encode(manifest).unwrap();
        let signature = self.laptop.identity.sign(MANIFEST_CONTEXT, &body).to_vec();
        Signed { body, signature }
    }

    fn acknowledged(&mut self, before: usize, mark: u32) -> bool {
        let new = &self.session.heard[before..];
        if !new.contains(&ToLaptop::Acknowledged { mark: Mark(mark) }) {
            return false;
        }
        let set = self.set;
        let of_this_visit = |upload: &UploadId| upload.set == set;
        for (_, sent) in self
            .laptop
            .sent
            .iter_mut()
            .filter(|(upload, _)| of_this_visit(upload))
        {
            sent.acknowledged = sent.bytes.len();
        }
        true
    }

    pub(crate) fn flush(&mut self) -> bool {
        let (before, mark) = (self.session.heard.len(), self.next_mark);
        self.next_mark += 1;
        self.session.say(ToHub::Flush { mark: Mark(mark) });
        self.acknowledged(before, mark)
    }

    /// A checkpoint with `open` packs under way.
    pub(crate) fn checkpoint(&mut self, open: &[UploadId]) -> bool {
        let (before, mark) = (self.session.heard.len(), self.next_mark);
        self.next_mark += 1;
        self.provisional.clear();
        let trees = self.laptop.noise(900);
        self.whole(ObjectKind::Pack, &trees, true);
        let index = self.laptop.noise(500);
        self.whole(ObjectKind::Index, &index, true);
        let snapshot = self.laptop.noise(300);
        let snapshot = self.whole(ObjectKind::Snapshot, &snapshot, true);
        let mut tail = self.entries.clone();
        tail.append(&mut self.provisional);
        let mut packs = Vec::new();
        for upload in open {
            let header = self.laptop.noise(50);
            let sent = self.laptop.sent.get_mut(upload).unwrap();
            let id = Id::of(&[&sent.bytes[..], &header].concat());
            sent.packs.push((id, sent.bytes.len()));
            let length = sent.bytes.len() as u64;
            tail.push(ObjectEntry {
                kind: ObjectKind::Pack,
                id,
                length: length + header.len() as u64,
            });
            packs.push(OpenPack {
                upload: *upload,
                length,
                header,
                pack: id,
            });
        }
        let manifest = self.sign(&self.manifest(SetKind::Partial, mark, snapshot, tail));
        self.session.say(ToHub::Checkpoint {
            mark: Mark(mark),
            open: packs,
            manifest,
        });
        self.acknowledged(before, mark)
    }

    /// Index, snapshot, commit. True if the hub gave its receipt.
    pub(crate) fn commit(&mut self) -> bool {
        let index = self.laptop.noise(700);
        self.whole(ObjectKind::Index, &index, false);
        let snapshot = self.laptop.noise(310);
        let snapshot = self.whole(ObjectKind::Snapshot, &snapshot, false);
        let tail = self.entries.clone();
        let manifest = self.sign(&self.manifest(SetKind::Complete, 0, snapshot, tail));
        let before = self.session.heard.len();
        self.session.say(ToHub::Commit { manifest });
        matches!(self.session.heard.get(before), Some(ToLaptop::Receipt { .. }))
    }

    /// Makes packs of all that was cut, each up to its end or up to where the hub says it is whole. Returns how far it
    /// got with each.
    pub(crate) fn salvage(&mut self) -> Vec<(UploadId, u64)> {
        let mut got = Vec::new();
        for tail in std::mem::take(&mut self.tails) {
            let bytes = self.laptop.sent[&tail.upload].bytes.clone();
            let mut length = tail.end;
            while length > tail.start {
                let header = self.laptop.noise(45);
                let answer = self.session.ask(ToHub::Salvage {
                    upload: tail.upload,
                    length,
                    digest: Id::of(&bytes[..length as usize]),
                    header: header.clone(),
                });
                match answer {
                    Some(ToLaptop::Salvaged {
                        pack: Some(id),
                        length: pack_length,
                        ..
                    }) => {
                        let pack = [&bytes[tail.start as usize..length as usize], &header].concat();
                        assert_eq!((id, pack_length), (Id::of(&pack), pack.len() as u64));
                        self.entries.push(ObjectEntry {
                            kind: ObjectKind::Pack,
                            id,
                            length: pack_length,
                        });
                        got.push((tail.upload, length));
                        break;
                    }
                    Some(ToLaptop::Salvaged {
                        pack: None,
                        length: left,
                        ..
                    }) => length = left,
                    _ => return got,
                }
            }
        }
        got
    }
}
