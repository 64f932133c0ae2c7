//! The upstream gets every set, in order, and never shows what it lacks, whatever fails on the way.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use berth_bridge::{
    FolderUpstream, ForwardError, Forwarder, Input, LOCK_AGE_MAX_NS, Lock, Progress, SetRecord, Upstream,
    UpstreamError,
};
use berth_repository::Id;
use berth_wire::{ObjectKind, SetSeq};
use bytes::Bytes;

use crate::hub::{Hub, NOW_NS};
use crate::laptop::Laptop;

/// Three sets: partial, complete, complete.
pub(crate) fn three_sets(hub: &Hub, laptop: &mut Laptop) {
    for visit in 0..3 {
        let mut visiting = laptop.visit(hub);
        visiting.salvage();
        visiting.open_set();
        let pack = visiting.open(ObjectKind::Pack, false);
        visiting.chunk(pack, 3_000 + visit);
        if visit == 0 {
            assert!(visiting.checkpoint(&[pack]));
            visiting.chunk(pack, 50);
            visiting.session.input(Input::Cut);
        } else {
            visiting.close(pack);
            assert!(visiting.commit());
        }
    }
}

/// An upstream in memory that fails, and that watches what is published.
#[derive(Default, Clone)]
pub(crate) struct Memory {
    pub(crate) objects: BTreeMap<(ObjectKind, Id), Vec<u8>>,
    locks: Vec<Lock>,
    /// Snapshots in the order in which they came.
    pub(crate) published: Vec<Id>,
    operations: u64,
    fail_at: Option<u64>,
    /// The failing write is done all the same.
    done_when_failing: bool,
    /// Another laptop's, which comes just before an object of this kind and replaces what is there.
    config_meanwhile: Option<(ObjectKind, Vec<u8>)>,
}

impl Memory {
    fn operation(&mut self) -> Result<bool, UpstreamError> {
        self.operations += 1;
        let fails = self.fail_at == Some(self.operations - 1);
        if fails && !self.done_when_failing {
            return Err(broken());
        }
        Ok(fails)
    }

    pub(crate) fn packs(&self) -> usize {
        self.objects
            .keys()
            .filter(|(kind, _)| *kind == ObjectKind::Pack)
            .count()
    }
}

fn broken() -> UpstreamError {
    UpstreamError::doing("testing")(io::Error::other("injected"))
}

impl Upstream for Memory {
    fn prepare(&mut self) -> Result<(), UpstreamError> {
        self.operation().map(drop)
    }

    fn config(&mut self) -> Result<Option<Vec<u8>>, UpstreamError> {
        self.operation()?;
        let mut configs = self
            .objects
            .iter()
            .filter(|((kind, _), _)| *kind == ObjectKind::Config);
        Ok(configs.next().map(|(_, bytes)| bytes.clone()))
    }

    fn list(&mut self, kind: ObjectKind, each: &mut dyn FnMut(Id, u64)) -> Result<(), UpstreamError> {
        self.operation()?;
        for ((one, id), bytes) in &self.objects {
            if *one == kind {
                each(*id, bytes.len() as u64);
            }
        }
        Ok(())
    }

    fn locks(&mut self) -> Result<Vec<Lock>, UpstreamError> {
        self.operation()?;
        Ok(self.locks.clone())
    }

    fn write(
        &mut self,
        kind: ObjectKind,
        id: &Id,
        length: u64,
        from: &mut dyn Read,
    ) -> Result<(), UpstreamError> {
        let fails = self.operation()?;
        if let Some((_, config)) = self.config_meanwhile.take_if(|(before, _)| *before == kind) {
            self.objects.retain(|(kind, _), _| *kind != ObjectKind::Config);
            self.objects.insert((ObjectKind::Config, Id::of(&config)), config);
        }
        let is_taken = self.objects.keys().any(|(kind, _)| *kind == ObjectKind::Config);
        if kind == ObjectKind::Config && is_taken {
            return Ok(());
        }
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes)
            .map_err(UpstreamError::doing("reading"))?;
        assert_eq!((bytes.len() as u64, Id::of(&bytes)), (length, *id));
        if kind == ObjectKind::Snapshot && !self.objects.contains_key(&(kind, *id)) {
            self.published.push(*id);
        }
        self.objects.entry((kind, *id)).or_insert(bytes);
        if fails { Err(broken()) } else { Ok(()) }
    }

    fn read(
        &mut self,
        kind: ObjectKind,
        id: &Id,
        range: Option<Range<u64>>,
    ) -> Result<Option<Bytes>, UpstreamError> {
        self.operation()?;
        let there = self.objects.get(&(kind, *id)).cloned().map(Bytes::from);
        Ok(there.map(|whole| part(&whole, range)))
    }

    fn digest(&mut self, kind: ObjectKind, id: &Id) -> Result<Option<Id>, UpstreamError> {
        self.operation()?;
        Ok(self.objects.get(&(kind, *id)).map(|bytes| Id::of(bytes)))
    }
}

fn part(whole: &Bytes, range: Option<Range<u64>>) -> Bytes {
    let Range { start, end } = range.unwrap_or(0..u64::MAX);
    let within = |at: u64| at.min(whole.len() as u64) as usize;
    whole.slice(within(start)..within(end))
}

/// Whenever a snapshot is there, everything of its set and of those before is.
fn check(hub: &Hub, laptop: &Laptop, upstream: &Memory) {
    let mut needed = Vec::new();
    for (at, set) in hub.spool().sets(&laptop.id).unwrap().iter().enumerate() {
        let signed = hub.spool().manifest(&laptop.id, set.seq).unwrap().unwrap();
        let manifest: berth_wire::Manifest = berth_wire::decode(&signed.body).unwrap();
        needed.extend(crate::laptop::entries(hub, laptop.id, &manifest));
        if upstream
            .objects
            .contains_key(&(ObjectKind::Snapshot, manifest.snapshot))
        {
            assert_eq!(upstream.published[at], manifest.snapshot, "out of order");
            for entry in &needed {
                let bytes = upstream.objects.get(&(entry.kind, entry.id));
                assert_eq!(
                    bytes.map(|bytes| bytes.len() as u64),
                    Some(entry.length),
                    "{entry:?}"
                );
            }
        } else {
            assert_ne!(set.word(), "forwarded");
        }
    }
}

pub(crate) fn forward(
    forwarder: &mut Forwarder,
    upstream: &mut dyn Upstream,
) -> Result<Vec<SetSeq>, ForwardError> {
    let mut forwarded = Vec::new();
    loop {
        match forwarder.step(upstream, NOW_NS)? {
            Progress::Idle => return Ok(forwarded),
            Progress::Forwarded { set, .. } => forwarded.push(set.seq),
            _ => {}
        }
    }
}

fn words(hub: &Hub, laptop: &Laptop) -> Vec<&'static str> {
    let sets = hub.spool().sets(&laptop.id).unwrap();
    sets.iter().map(SetRecord::word).collect()
}

#[test]
fn sets_arrive_in_order_and_the_hub_signs_for_each() {
    let (hub, mut laptop) = (Hub::new(), Laptop::new(1));
    three_sets(&hub, &mut laptop);
    let mut upstream = Memory::default();
    let mut forwarder = Forwarder::new(hub.spool().clone(), laptop.id);
    assert_eq!(
        forward(&mut forwarder, &mut upstream).unwrap(),
        [SetSeq(1), SetSeq(2), SetSeq(3)]
    );
    check(&hub, &laptop, &upstream);
    assert_eq!(words(&hub, &laptop), ["forwarded"; 3]);
    // Nothing of a checkpoint but the partial set's own, no pages: 2 packs and the salvaged one, the checkpoint's trees.
    assert_eq!(upstream.packs(), 5);
    assert_eq!(upstream.published.len(), 3);
    let operations = upstream.operations;
    assert_eq!(forward(&mut forwarder, &mut upstream).unwrap(), []);
    assert_eq!(upstream.operations, operations, "nothing waits, nothing is asked");
}

/// Counts what is asked, by what it is.
#[derive(Default)]
struct Counting {
    upstream: Memory,
    counts: BTreeMap<String, u64>,
}

impl Counting {
    fn count(&mut self, what: impl Into<String>) -> &mut Memory {
        *self.counts.entry(what.into()).or_default() += 1;
        &mut self.upstream
    }
}

impl Upstream for Counting {
    fn prepare(&mut self) -> Result<(), UpstreamError> {
        self.upstream.prepare()
    }

    fn config(&mut self) -> Result<Option<Vec<u8>>, UpstreamError> {
        self.count("config").config()
    }

    fn list(&mut self, kind: ObjectKind, each: &mut dyn FnMut(Id, u64)) -> Result<(), UpstreamError> {
        self.count(format!("list {kind:?}")).list(kind, each)
    }

    fn locks(&mut self) -> Result<Vec<Lock>, UpstreamError> {
        self.count("locks").locks()
    }

    fn write(
        &mut self,
        kind: ObjectKind,
        id: &Id,
        length: u64,
        from: &mut dyn Read,
    ) -> Result<(), UpstreamError> {
        self.count(format!("write {kind:?}"))
            .write(kind, id, length, from)
    }

    fn read(
        &mut self,
        kind: ObjectKind,
        id: &Id,
        range: Option<Range<u64>>,
    ) -> Result<Option<Bytes>, UpstreamError> {
        self.count(format!("read {kind:?}")).read(kind, id, range)
    }

    fn digest(&mut self, kind: ObjectKind, id: &Id) -> Result<Option<Id>, UpstreamError> {
        self.count("digest").digest(kind, id)
    }
}

#[test]
fn a_set_costs_three_looks_at_its_repository_and_one_write_for_each_object() {
    let (hub, mut laptop) = (Hub::new(), Laptop::new(1));
    let mut upstream = Counting::default();
    let mut forwarder = Forwarder::new(hub.spool().clone(), laptop.id);
    for set in 1..=2 {
        let mut visiting = laptop.visit(&hub);
        visiting.open_set();
        let pack = visiting.open(ObjectKind::Pack, false);
        visiting.chunk(pack, 3_000 + set);
        visiting.close(pack);
        assert!(visiting.commit());
        upstream.counts.clear();
        while forwarder.step(&mut upstream, 0).unwrap() != Progress::Idle {}
    }
    // docs/scale.md and bench/examples/scale.rs count on this.
    let expected = [
        ("config", 3),
        ("list Index", 3),
        ("list Key", 3),
        ("list Pack", 3),
        ("list Snapshot", 1),
        ("locks", 3),
        ("write Index", 1),
        ("write Pack", 1),
        ("write Snapshot", 1),
    ];
    let counts = upstream
        .counts
        .iter()
        .map(|(what, count)| (what.as_str(), *count));
    assert_eq!(Vec::from_iter(counts), expected);
}

#[test]
fn a_failure_at_every_operation_costs_one_operation() {
    for done_when_failing in [false, true] {
        for fail_at in 0.. {
            let (hub, mut laptop) = (Hub::new(), Laptop::new(1));
            three_sets(&hub, &mut laptop);
            let mut upstream = Memory {
                fail_at: Some(fail_at),
                done_when_failing,
                ..Memory::default()
            };
            let mut forwarder = Forwarder::new(hub.spool().clone(), laptop.id);
            let failed = forward(&mut forwarder, &mut upstream).is_err();
            check(&hub, &laptop, &upstream);
            // The same forwarder goes on, or a new one.
            if fail_at % 2 == 0 {
                forwarder = Forwarder::new(hub.spool().clone(), laptop.id);
            }
            forward(&mut forwarder, &mut upstream).unwrap();
            check(&hub, &laptop, &upstream);
            assert_eq!(words(&hub, &laptop), ["forwarded"; 3]);
            if upstream.operations <= fail_at {
                break;
            }
            assert!(failed || done_when_failing, "operation {fail_at}");
        }
    }
}

#[test]
fn a_pack_that_vanished_is_sent_again_before_the_next_snapshot() {
    let (hub, mut laptop) = (Hub::new(), Laptop::new(1));
    three_sets(&hub, &mut laptop);
    let mut upstream = Memory::default();
    let mut forwarder = Forwarder::new(hub.spool().clone(), laptop.id);
    while !matches!(
        forwarder.step(&mut upstream, NOW_NS),
        Ok(Progress::Forwarded { .. })
    ) {}
    upstream.objects.retain(|(kind, _), _| *kind != ObjectKind::Pack);
    forward(&mut forwarder, &mut upstream).unwrap();
    check(&hub, &laptop, &upstream);
    assert_eq!(upstream.packs(), 5);
}

#[test]
fn a_new_upstream_gets_the_key_too_and_a_key_that_its_owner_deleted_stays_deleted() {
    let (hub, mut laptop) = (Hub::new(), Laptop::new(1));
    three_sets(&hub, &mut laptop);
    let mut forwarder = Forwarder::new(hub.spool().clone(), laptop.id);
    let mut old = Memory::default();
    while !matches!(forwarder.step(&mut old, NOW_NS), Ok(Progress::Forwarded { .. })) {}
    let keys = |upstream: &Memory| -> Vec<Id> {
        let of_kind = upstream
            .objects
            .keys()
            .filter(|(kind, _)| *kind == ObjectKind::Key);
        of_kind.map(|(_, id)| *id).collect()
    };
    let first = keys(&old);
    assert_eq!(first.len(), 1);
    let mut new = Memory::default();
    let mut owners = Memory::default();
    let another = (ObjectKind::Key, Id::of(b"another key"));
    owners.objects.insert(another, b"another key".to_vec());
    while !matches!(forwarder.step(&mut new, NOW_NS), Ok(Progress::Forwarded { .. })) {}
    assert_eq!(keys(&new), first, "nobody could open the repository");
    forward(&mut forwarder, &mut owners).unwrap();
    assert_eq!(keys(&owners), [another.1]);
}

#[test]
fn what_somebody_deletes_meanwhile_is_there_again_before_snapshot_and_receipt() {
    for kind in [ObjectKind::Pack, ObjectKind::Index] {
        for delete_after in 0.. {
            let (hub, mut laptop) = (Hub::new(), Laptop::new(1));
            three_sets(&hub, &mut laptop);
            let mut upstream = Memory::default();
            let mut forwarder = Forwarder::new(hub.spool().clone(), laptop.id);
            let mut steps = 0;
            loop {
                let published = upstream.published.len();
                let progress = forwarder.step(&mut upstream, NOW_NS).unwrap();
                let is_done = matches!(progress, Progress::Forwarded { .. });
                if is_done || upstream.published.len() > published {
                    check(&hub, &laptop, &upstream);
                }
                if is_done {
                    break;
                }
                if steps == delete_after {
                    let gone = upstream.objects.keys().find(|(one, _)| *one == kind).copied();
                    gone.map(|gone| upstream.objects.remove(&gone));
                }
                steps += 1;
            }
            if steps < delete_after {
                break;
            }
        }
    }
}

#[test]
fn a_young_lock_stops_the_publication_and_an_old_one_does_not() {
    let (hub, mut laptop) = (Hub::new(), Laptop::new(1));
    three_sets(&hub, &mut laptop);
    let mut upstream = Memory::default();
    let mut forwarder = Forwarder::new(hub.spool().clone(), laptop.id);
    let lock = |age_ns| {
        vec![Lock {
            name: "a".to_owned(),
            changed_at_ns: NOW_NS - age_ns,
        }]
    };
    upstream.locks = lock(1);
    forwarder.step(&mut upstream, NOW_NS).unwrap();
    let waiting = forwarder.step(&mut upstream, NOW_NS).unwrap();
    assert!(matches!(waiting, Progress::Waiting { until_ns, .. } if until_ns > NOW_NS));
    assert!(upstream.objects.is_empty());
    upstream.locks = Vec::new();
    while upstream.published.is_empty() {
        forwarder.step(&mut upstream, NOW_NS).unwrap();
    }
    // It came between the publication and the last look: no receipt yet.
    upstream.locks = lock(1);
    let waiting = forwarder.step(&mut upstream, NOW_NS).unwrap();
    assert!(matches!(waiting, Progress::Waiting { .. }));
    assert_eq!(words(&hub, &laptop), ["forwarding", "complete", "complete"]);
    upstream.locks = lock(LOCK_AGE_MAX_NS);
    forward(&mut forwarder, &mut upstream).unwrap();
    assert_eq!(words(&hub, &laptop), ["forwarded"; 3]);
}

#[test]
fn another_repository_or_other_bytes_are_left_alone() {
    let (hub, mut laptop) = (Hub::new(), Laptop::new(1));
    three_sets(&hub, &mut laptop);
    let mut upstream = Memory::default();
    let other = Id::of(b"other");
    upstream
        .objects
        .insert((ObjectKind::Config, other), b"other".to_vec());
    let mut forwarder = Forwarder::new(hub.spool().clone(), laptop.id);
    let error = forward(&mut forwarder, &mut upstream).unwrap_err();
    assert!(matches!(error, ForwardError::OtherRepository));
    assert_eq!(upstream.objects.len(), 1);

    for (before, is_own) in [
        (ObjectKind::Config, false),
        (ObjectKind::Index, false),
        (ObjectKind::Snapshot, true),
    ] {
        let mut upstream = Memory {
            config_meanwhile: Some((before, b"other".to_vec())),
            ..Memory::default()
        };
        let error = forward(&mut forwarder, &mut upstream).unwrap_err();
        assert!(matches!(error, ForwardError::OtherRepository));
        assert_eq!(
            upstream.published.len(),
            usize::from(is_own),
            "two laptops of one name were mixed"
        );
        assert_eq!(words(&hub, &laptop)[0], "forwarding");
    }

    for bytes in [&b"shorter"[..], &vec![0; 5_000]] {
        let mut upstream = Memory::default();
        forward(&mut forwarder, &mut upstream).unwrap_or_default();
        let (hub, mut laptop) = (Hub::new(), Laptop::new(1));
        three_sets(&hub, &mut laptop);
        let mut upstream = Memory::default();
        let pack = laptop.sent.values().find_map(|sent| sent.packs.last()).unwrap();
        upstream
            .objects
            .insert((ObjectKind::Pack, pack.0), bytes.to_vec());
        let mut forwarder = Forwarder::new(hub.spool().clone(), laptop.id);
        let error = forward(&mut forwarder, &mut upstream).unwrap_err();
        assert!(
            matches!(error, ForwardError::Foreign { id } if id == pack.0),
            "{error}"
        );
        assert!(upstream.published.is_empty());
    }
}

#[test]
fn a_damaged_object_of_the_spool_never_gets_a_name_upstream() {
    let (hub, mut laptop) = (Hub::new(), Laptop::new(1));
    three_sets(&hub, &mut laptop);
    let files = hub.disk.contents();
    let (path, _) = files.iter().find(|(path, _)| path.contains("/data/")).unwrap();
    hub.disk.flip_bit(path, 99).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut upstream = FolderUpstream::new(folder.path().join("up"), &[1; 32]);
    let mut forwarder = Forwarder::new(hub.spool().clone(), laptop.id);
    let error = forward(&mut forwarder, &mut upstream).unwrap_err();
    assert!(matches!(error, ForwardError::Damaged { .. }), "{error}");
    let name = path.rsplit_once('/').unwrap().1;
    assert!(files_below(folder.path()).iter().all(|file| !file.contains(name)));
}

fn files_below(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path.to_string_lossy().into_owned());
        }
    }
    found
}

#[test]
fn a_folder_holds_a_whole_repository_and_nothing_besides() {
    let (hub, mut laptop) = (Hub::new(), Laptop::new(1));
    three_sets(&hub, &mut laptop);
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("up");
    let mut upstream = FolderUpstream::new(&root, &[1; 32]);
    let mut forwarder = Forwarder::new(hub.spool().clone(), laptop.id);
    forward(&mut forwarder, &mut upstream).unwrap();
    assert_eq!(fs::read_dir(root.join("data")).unwrap().count(), 256);
    assert!(root.join("locks").is_dir());
    let mut files = files_below(&root);
    files.sort_unstable();
    // config, key, 5 packs, 3 indexes, 3 snapshots.
    assert_eq!(files.len(), 13, "{files:#?}");
    for file in &files {
        let bytes = fs::read(file).unwrap();
        let name = file.rsplit_once('/').unwrap().1;
        assert!(name == "config" || name == Id::of(&bytes).to_string(), "{file}");
    }
    // Another hub's forwarder finds everything there, reads it back and agrees.
    let again: BTreeMap<String, Vec<u8>> = files
        .iter()
        .map(|file| (file.clone(), fs::read(file).unwrap()))
        .collect();
    let (other, mut same) = (Hub::new(), Laptop::new(1));
    three_sets(&other, &mut same);
    let mut forwarder = Forwarder::new(other.spool().clone(), same.id);
    forward(&mut forwarder, &mut upstream).unwrap();
    assert!(files_below(&root).iter().all(|file| again.contains_key(file)));
}

#[test]
fn a_folders_locks_are_seen_with_their_age() {
    let folder = tempfile::tempdir().unwrap();
    let mut upstream = FolderUpstream::new(folder.path(), &[1; 32]);
    assert_eq!(upstream.locks().unwrap(), []);
    upstream.prepare().unwrap();
    let path = folder.path().join("locks").join(Id::of(b"lock").to_string());
    let file = fs::File::create(path).unwrap();
    let when = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000);
    file.set_modified(when).unwrap();
    let [lock] = &upstream.locks().unwrap()[..] else {
        panic!("one lock");
    };
    assert_eq!(lock.changed_at_ns, 1_000_000_000_000);
}

#[test]
fn an_unfinished_write_leaves_no_name_and_an_existing_one_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let mut upstream = FolderUpstream::new(folder.path(), &[1; 32]);
    upstream.prepare().unwrap();
    let id = Id::of(b"bytes");
    let kind = ObjectKind::Index;
    assert!(upstream.write(kind, &id, 6, &mut &b"bytes"[..]).is_err());
    let mut listed = Vec::new();
    upstream
        .list(kind, &mut |id, length| listed.push((id, length)))
        .unwrap();
    assert_eq!(listed, []);
    upstream.write(kind, &id, 5, &mut &b"bytes"[..]).unwrap();
    upstream.write(kind, &id, 5, &mut &b"other"[..]).unwrap();
    assert_eq!(upstream.digest(kind, &id).unwrap(), Some(id));
    assert_eq!(files_below(folder.path()).len(), 1);
}
