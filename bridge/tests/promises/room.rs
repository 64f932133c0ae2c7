//! Where room is needed, what is upstream goes; nothing else ever does.

use std::collections::BTreeSet;
use std::fs;
use std::ops::{ControlFlow, Range};

use berth_bridge::{
    Behind, Forward, ForwardError, Forwarder, Input, Progress, RESERVE_SIZE_BYTES, ROOM_SIZE_BYTES_MIN,
    Reclaimed, Repair, SetRecord, StoreDone, StoreOp, Verified,
};
use berth_disk::Disk as _;
use berth_radio_sim::CutPolicy;
use berth_repository::Id;
use berth_wire::{Manifest, ObjectEntry, ObjectKind, SetSeq, ToHub, ToLaptop};
use bytes::Bytes;

use crate::forwarding::{Memory, forward, three_sets};
use crate::hub::{Hub, NOW_NS};
use crate::laptop::{Laptop, entries, path};

/// All that may go.
pub(crate) const ALL: u64 = 1 << 49;

fn manifest(hub: &Hub, laptop: &Laptop, set: u64) -> Manifest {
    let signed = hub.spool().manifest(&laptop.id, SetSeq(set)).unwrap().unwrap();
    berth_wire::decode(&signed.body).unwrap()
}

/// The packs of a set, and whether each is in the spool.
pub(crate) fn packs(hub: &Hub, laptop: &Laptop, set: u64) -> Vec<(ObjectEntry, bool)> {
    let manifest = manifest(hub, laptop, set);
    let entries = entries(hub, laptop.id, &manifest).into_iter();
    let packs = entries.filter(|entry| entry.kind == ObjectKind::Pack);
    let is_there = |entry: &ObjectEntry| hub.object(laptop.id, &path(entry.kind, &entry.id)).is_some();
    packs.map(|entry| (entry, is_there(&entry))).collect()
}

/// How many packs of each of the first three sets are in the spool.
pub(crate) fn left(hub: &Hub, laptop: &Laptop) -> [usize; 3] {
    [1, 2, 3].map(|set| packs(hub, laptop, set).iter().filter(|(_, there)| *there).count())
}

fn reclaimed(hub: &Hub, laptop: &Laptop) -> Vec<Option<Reclaimed>> {
    let sets = hub.spool().sets(&laptop.id).unwrap();
    let of = |record: &SetRecord| match record.sealed()?.forward {
        Forward::Done { reclaimed, .. } => Some(reclaimed),
        Forward::Waiting | Forward::Started { .. } => None,
    };
    sets.iter().map(of).collect()
}

/// What `verify` calls missing or damaged; and how many objects are upstream only.
fn verified(hub: &Hub, laptop: &Laptop) -> (Vec<Verified>, usize) {
    let (mut faults, mut upstream_only) = (Vec::new(), 0);
    let flow = hub.spool().verify(&laptop.id, &mut |verified| {
        match verified {
            Verified::Whole { .. } => {}
            Verified::Reclaimed => upstream_only += 1,
            fault => faults.push(fault),
        }
        ControlFlow::Continue(())
    });
    assert!(flow.unwrap().is_continue());
    (faults, upstream_only)
}

/// Forwards the oldest sets, `count` of them.
pub(crate) fn forward_some(hub: &Hub, laptop: &Laptop, upstream: &mut Memory, count: usize) {
    let mut forwarder = Forwarder::new(hub.spool().clone(), laptop.id);
    let mut forwarded = 0;
    while forwarded < count {
        let progress = forwarder.step(upstream, NOW_NS).unwrap();
        forwarded += usize::from(matches!(progress, Progress::Forwarded { .. }));
    }
}

/// Three sets, all but the last upstream.
pub(crate) fn two_of_three(hub: &Hub, laptop: &mut Laptop, upstream: &mut Memory) {
    three_sets(hub, laptop);
    forward_some(hub, laptop, upstream, 2);
}

/// From now on only so much room is there for laptops.
pub(crate) fn leave_room(hub: &Hub, bytes: u64) {
    let used_bytes = hub.disk.used_bytes();
    hub.disk.capacity(Some(used_bytes + RESERVE_SIZE_BYTES + bytes));
}

/// Bytes of all objects, visits under way and tails.
pub(crate) fn bytes_on_disk(hub: &Hub) -> u64 {
    let counted = ["/repository/", "/incoming/", "/tails/"];
    let files = hub.disk.contents().into_iter();
    let files = files.filter(|(path, _)| counted.iter().any(|folder| path.contains(folder)));
    files.map(|(_, bytes)| bytes.len() as u64).sum()
}

/// The journal says what the files say, and nothing that is not upstream was touched.
pub(crate) fn check(hub: &Hub, laptop: &Laptop, what: &str) {
    for (record, reclaimed) in hub
        .spool()
        .sets(&laptop.id)
        .unwrap()
        .iter()
        .zip(reclaimed(hub, laptop))
    {
        let packs = packs(hub, laptop, record.seq.0);
        let gone = packs.iter().filter(|(_, there)| !*there);
        let gone_bytes: u64 = gone.map(|(entry, _)| entry.length).sum();
        let said = reclaimed.unwrap_or_default();
        assert_eq!(gone_bytes, said.bytes, "{what}: set {}", record.seq);
        assert!(!said.is_all || packs.iter().all(|(_, there)| !there), "{what}");
    }
    assert_eq!(verified(hub, laptop).0, [], "{what}");
    assert_eq!(hub.spool().used_bytes(), bytes_on_disk(hub), "{what}");
}

#[test]
fn nothing_goes_while_there_is_room() {
    let (hub, mut laptop) = (Hub::new(), Laptop::new(1));
    three_sets(&hub, &mut laptop);
    forward_some(&hub, &laptop, &mut Memory::default(), 3);
    leave_room(&hub, ROOM_SIZE_BYTES_MIN);
    assert_eq!(
        hub.spool().make_room(&laptop.id, ROOM_SIZE_BYTES_MIN).unwrap(),
        ROOM_SIZE_BYTES_MIN
    );
    hub.check_sets(laptop.id);
    assert!(laptop.visit(&hub).session.end.is_none());
    hub.check_sets(laptop.id);
}

#[test]
fn what_is_not_upstream_never_goes_however_little_room_there_is() {
    for confirmed in 0..=3 {
        let (hub, mut laptop) = (Hub::new(), Laptop::new(1));
        three_sets(&hub, &mut laptop);
        forward_some(&hub, &laptop, &mut Memory::default(), confirmed);
        let before = left(&hub, &laptop);
        leave_room(&hub, 0);
        assert!(hub.spool().make_room(&laptop.id, ALL).unwrap() < ALL);
        for (set, (after, before)) in left(&hub, &laptop).into_iter().zip(before).enumerate() {
            let expected = if set < confirmed { 0 } else { before };
            assert_eq!(after, expected, "{confirmed} confirmed, set {}", set + 1);
        }
        check(&hub, &laptop, "all that may go is gone");
    }
}

#[test]
fn the_oldest_set_goes_first_and_no_more_than_is_needed() {
    let (hub, mut laptop) = (Hub::new(), Laptop::new(1));
    three_sets(&hub, &mut laptop);
    forward_some(&hub, &laptop, &mut Memory::default(), 3);
    leave_room(&hub, 0);
    let mut before = left(&hub, &laptop);
    let mut gone = 0;
    while before != [0; 3] {
        // A byte more than there is: one more pack.
        let room = hub.spool().make_room(&laptop.id, 0).unwrap();
        assert!(hub.spool().make_room(&laptop.id, room + 1).unwrap() > room);
        let after = left(&hub, &laptop);
        let oldest = before.iter().position(|left| *left > 0).unwrap();
        before[oldest] -= 1;
        assert_eq!(after, before);
        check(&hub, &laptop, "after one more pack");
        gone += 1;
    }
    assert_eq!((gone, verified(&hub, &laptop).1), (5, 5));
    assert!(reclaimed(&hub, &laptop).iter().all(|set| set.unwrap().is_all));
}

#[test]
fn the_newest_complete_set_of_each_laptop_goes_last() {
    let hub = Hub::new();
    let (mut early, mut late) = (Laptop::new(1), Laptop::new(2));
    for laptop in [&mut early, &mut late] {
        three_sets(&hub, laptop);
        // And a partial one after it.
        let mut visit = laptop.visit(&hub);
        visit.open_set();
        let pack = visit.open(ObjectKind::Pack, false);
        visit.chunk(pack, 2_000);
        assert!(visit.checkpoint(&[pack]));
        visit.session.input(Input::Cut);
        drop(visit);
        forward_some(&hub, laptop, &mut Memory::default(), 4);
    }
    leave_room(&hub, 0);
    let newest = |laptop: &Laptop| packs(&hub, laptop, 3).iter().any(|(_, there)| *there);
    let others = |laptop: &Laptop| {
        let of = |set| packs(&hub, laptop, set).iter().any(|(_, there)| *there);
        of(1) || of(2) || of(4)
    };
    while others(&early) || others(&late) {
        assert!(newest(&early) && newest(&late));
        let room = hub.spool().make_room(&early.id, 0).unwrap();
        hub.spool().make_room(&early.id, room + 1).unwrap();
    }
    hub.spool().make_room(&early.id, ALL).unwrap();
    assert!(!newest(&early) && !newest(&late));
}

#[test]
fn what_only_an_upstream_before_has_confirmed_stays_until_this_one_has_it() {
    let (hub, mut laptop) = (Hub::new(), Laptop::new(1));
    two_of_three(&hub, &mut laptop, &mut Memory::default());
    let before = left(&hub, &laptop);
    leave_room(&hub, 0);
    for since_ns in [None, Some(NOW_NS + 1)] {
        hub.spool().set_upstream_since(since_ns);
        hub.spool().make_room(&laptop.id, ALL).unwrap();
        assert_eq!(left(&hub, &laptop), before);
    }
    // The next set brings those before it to the other upstream.
    let mut other = Memory::default();
    let mut forwarder = Forwarder::new(hub.spool().clone(), laptop.id);
    while forwarder.step(&mut other, NOW_NS + 1).unwrap() != Progress::Idle {}
    assert_eq!(other.packs(), before.iter().sum::<usize>());
    hub.spool().make_room(&laptop.id, ALL).unwrap();
    assert_eq!(left(&hub, &laptop), [0; 3]);
}

#[test]
fn to_make_room_twice_is_to_make_it_once() {
    let (mut hub, mut laptop) = (Hub::new(), Laptop::new(1));
    two_of_three(&hub, &mut laptop, &mut Memory::default());
    leave_room(&hub, 0);
    let room = hub.spool().make_room(&laptop.id, ALL).unwrap();
    let (sets, changes) = (hub.spool().sets(&laptop.id).unwrap(), hub.disk.changes());
    assert_eq!(hub.spool().make_room(&laptop.id, ALL).unwrap(), room);
    assert_eq!(hub.spool().sets(&laptop.id).unwrap(), sets);
    assert_eq!(hub.disk.changes(), changes, "the disk was written to");
    hub.restart();
    assert_eq!(hub.repairs, []);
    assert_eq!(hub.spool().sets(&laptop.id).unwrap(), sets);
}

#[test]
fn a_power_cut_at_every_change_leaves_what_is_not_upstream_and_a_journal_that_is_right() {
    let policies = [
        CutPolicy::LoseAll,
        CutPolicy::KeepAll,
        CutPolicy::Random(1),
        CutPolicy::Random(2),
    ];
    for at in 0.. {
        let mut cut = false;
        for policy in policies {
            let what = format!("change {at}, {policy:?}");
            let (mut hub, mut laptop) = (Hub::new(), Laptop::new(1));
            let mut upstream = Memory::default();
            two_of_three(&hub, &mut laptop, &mut upstream);
            leave_room(&hub, 0);
            hub.disk.cut_power_at_change(hub.disk.changes() + at, policy);
            cut |= hub.spool().make_room(&laptop.id, ALL).is_err();
            hub.cut_and_start(policy);
            check(&hub, &laptop, &what);
            let all = packs(&hub, &laptop, 3).len();
            assert_eq!(left(&hub, &laptop)[2], all, "{what}");
            // It goes on, and so does forwarding.
            hub.spool().make_room(&laptop.id, ALL).unwrap();
            assert_eq!(left(&hub, &laptop), [0, 0, all], "{what}");
            check(&hub, &laptop, &what);
            let mut forwarder = Forwarder::new(hub.spool().clone(), laptop.id);
            assert_eq!(
                forward(&mut forwarder, &mut upstream).unwrap(),
                [SetSeq(3)],
                "{what}"
            );
        }
        if !cut {
            assert!(at > 8, "{at} changes only");
            break;
        }
    }
}

#[test]
fn a_disk_that_fails_once_while_room_is_made_costs_nothing() {
    for at in 0.. {
        let (mut hub, mut laptop) = (Hub::new(), Laptop::new(1));
        two_of_three(&hub, &mut laptop, &mut Memory::default());
        leave_room(&hub, 0);
        hub.disk.fail_at_change(hub.disk.changes() + at);
        let failed = hub.spool().make_room(&laptop.id, ALL).is_err();
        hub.spool().make_room(&laptop.id, ALL).unwrap();
        hub.restart();
        assert_eq!(left(&hub, &laptop)[..2], [0, 0], "change {at}");
        check(&hub, &laptop, &format!("change {at} failed"));
        if !failed {
            break;
        }
    }
}

#[test]
fn a_journal_that_is_lost_is_rebuilt_with_what_is_upstream_only() {
    let (mut hub, mut laptop) = (Hub::new(), Laptop::new(1));
    let mut upstream = Memory::default();
    two_of_three(&hub, &mut laptop, &mut upstream);
    leave_room(&hub, 0);
    // One pack of the second set is left.
    hub.spool().make_room(&laptop.id, 0).unwrap();
    let mut room = 0;
    while left(&hub, &laptop)[..2] != [0, 1] {
        room = hub.spool().make_room(&laptop.id, room + 1).unwrap();
    }
    let before = reclaimed(&hub, &laptop);
    hub.power_cut(CutPolicy::KeepAll);
    fs::remove_dir_all(hub.journal()).unwrap();
    hub.start().unwrap();
    let rebuilt = |repair: &Repair| matches!(repair, Repair::Rebuilt { .. });
    assert!(hub.repairs.iter().all(rebuilt), "{:?}", hub.repairs);
    check(&hub, &laptop, "after the rebuild");
    let bytes = |sets: &[Option<Reclaimed>]| {
        sets.iter()
            .map(|set| set.map(|set| set.bytes))
            .collect::<Vec<_>>()
    };
    assert_eq!(bytes(&reclaimed(&hub, &laptop)), bytes(&before));
    hub.disk.capacity(None);
    let mut forwarder = Forwarder::new(hub.spool().clone(), laptop.id);
    assert_eq!(forward(&mut forwarder, &mut upstream).unwrap(), [SetSeq(3)]);
    let mut visit = laptop.visit(&hub);
    visit.open_set();
    assert!(visit.commit());
}

#[test]
fn a_laptop_still_hears_which_index_and_snapshot_are_there_and_which_pack_is_not() {
    let (hub, mut laptop) = (Hub::new(), Laptop::new(1));
    three_sets(&hub, &mut laptop);
    forward_some(&hub, &laptop, &mut Memory::default(), 3);
    let gone = packs(&hub, &laptop, 1)[0].0;
    let ask = |laptop: &mut Laptop| {
        let mut visit = laptop.visit(&hub);
        [
            ObjectKind::Index,
            ObjectKind::Snapshot,
            ObjectKind::Key,
            ObjectKind::Config,
        ]
        .map(|kind| visit.session.ask(ToHub::List { kind, after: None }).unwrap())
    };
    let before = ask(&mut laptop);
    leave_room(&hub, 0);
    hub.spool().make_room(&laptop.id, ALL).unwrap();
    assert_eq!(ask(&mut laptop), before);
    let mut visit = laptop.visit(&hub);
    let fetch = ToHub::Fetch {
        kind: ObjectKind::Pack,
        id: gone.id,
        offset: 0,
        length: 10,
        knows_unavailable: true,
    };
    assert_eq!(visit.session.ask(fetch), Some(ToLaptop::Missing));
    let listing = visit.session.ask(ToHub::List {
        kind: ObjectKind::Pack,
        after: None,
    });
    assert!(matches!(listing, Some(ToLaptop::Listing { ids, .. }) if ids.is_empty()));
    let of = visit.session.ask(ToHub::FetchManifest { set: SetSeq(1) });
    assert!(matches!(of, Some(ToLaptop::ManifestOf { .. })));
}

/// What is behind the spool in these tests.
struct Upstream(Result<Memory, String>);

impl Behind for Upstream {
    fn read(&mut self, kind: ObjectKind, id: &Id, range: Range<u64>) -> Result<Option<Bytes>, String> {
        let memory = self.0.as_mut().map_err(|why| why.clone())?;
        let read = berth_bridge::Upstream::read(memory, kind, id, Some(range));
        read.map_err(|error| error.to_string())
    }
}

/// Asks for a part of a pack in a visit with this behind the spool.
fn fetch_behind(
    hub: &Hub,
    laptop: &Laptop,
    behind: Upstream,
    knows_unavailable: bool,
    (id, offset, length): (Id, u64, u32),
) -> ToLaptop {
    let mut visit = hub.spool().visit(laptop.id).unwrap();
    visit.read_behind(Box::new(behind));
    let op = StoreOp::Fetch {
        kind: ObjectKind::Pack,
        id,
        offset,
        length,
        knows_unavailable,
    };
    match visit.execute(op, NOW_NS) {
        Some(StoreDone::Answer(answer)) => answer,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_removed_is_read_upstream_and_a_pack_of_no_set_is_not_asked_for() {
    let (hub, mut laptop) = (Hub::new(), Laptop::new(1));
    three_sets(&hub, &mut laptop);
    let mut upstream = Memory::default();
    forward_some(&hub, &laptop, &mut upstream, 3);
    let gone = packs(&hub, &laptop, 1)[0].0;
    leave_room(&hub, 0);
    hub.spool().make_room(&laptop.id, ALL).unwrap();
    let other = Id::of(b"of nobody");
    let whole = upstream.objects[&(ObjectKind::Pack, gone.id)].clone();
    upstream.objects.insert((ObjectKind::Pack, other), whole.clone());
    let ask = |knows, id, offset, length| {
        fetch_behind(
            &hub,
            &laptop,
            Upstream(Ok(upstream.clone())),
            knows,
            (id, offset, length),
        )
    };
    let fetched = |range: Range<usize>| ToLaptop::Fetched {
        bytes: Bytes::copy_from_slice(&whole[range]),
        object_length: gone.length,
    };
    assert_eq!(ask(true, gone.id, 3, 10), fetched(3..13));
    // A laptop that is older, or does not wait for it.
    assert_eq!(ask(false, gone.id, 3, 10), ToLaptop::Missing);
    assert_eq!(
        ask(true, gone.id, gone.length - 2, 10),
        fetched(whole.len() - 2..whole.len())
    );
    assert_eq!(ask(true, gone.id, u64::MAX, 10), fetched(0..0));
    assert_eq!(ask(true, other, 0, 10), ToLaptop::Missing);
    let why = "it is away".to_owned();
    let away = fetch_behind(&hub, &laptop, Upstream(Err(why.clone())), true, (gone.id, 0, 10));
    assert_eq!(away, ToLaptop::Unavailable { why });
    let lost = fetch_behind(
        &hub,
        &laptop,
        Upstream(Ok(Memory::default())),
        true,
        (gone.id, 0, 10),
    );
    assert_eq!(lost, ToLaptop::Missing);
    upstream
        .objects
        .insert((ObjectKind::Pack, gone.id), whole[..5].to_vec());
    let shorter = fetch_behind(&hub, &laptop, Upstream(Ok(upstream)), true, (gone.id, 0, 10));
    assert!(matches!(shorter, ToLaptop::Unavailable { .. }), "{shorter:?}");
}

#[test]
fn a_visits_folder_that_comes_back_after_its_set_was_reclaimed_harms_nothing() {
    let (mut hub, mut laptop) = (Hub::new(), Laptop::new(1));
    two_of_three(&hub, &mut laptop, &mut Memory::default());
    leave_room(&hub, 0);
    hub.spool().make_room(&laptop.id, ALL).unwrap();
    let folder = berth_bridge::Spool::repository_folder(&laptop.id).replace("/repository", "/incoming/2");
    hub.disk.create_dir(&folder).unwrap();
    drop(hub.disk.create(&format!("{folder}/lengths")).unwrap());
    let before = hub.spool().sets(&laptop.id).unwrap();
    hub.disk.capacity(None);
    hub.restart();
    let sealed = |repair: &Repair| matches!(repair, Repair::Sealed { set, .. } if set.seq == SetSeq(2));
    assert!(
        hub.repairs.len() == 1 && hub.repairs.iter().all(sealed),
        "{:?}",
        hub.repairs
    );
    assert_eq!(hub.spool().sets(&laptop.id).unwrap(), before);
    assert_eq!(hub.disk.list(&folder).unwrap(), Vec::<String>::new());
}

#[test]
fn no_snapshot_is_published_over_a_pack_that_neither_side_has_any_more() {
    let (hub, mut laptop) = (Hub::new(), Laptop::new(1));
    let mut upstream = Memory::default();
    two_of_three(&hub, &mut laptop, &mut upstream);
    leave_room(&hub, 0);
    hub.spool().make_room(&laptop.id, ALL).unwrap();
    let gone = packs(&hub, &laptop, 1)[0].0.id;
    let lost = upstream.objects.remove(&(ObjectKind::Pack, gone)).unwrap();
    let published = upstream.published.len();
    let mut forwarder = Forwarder::new(hub.spool().clone(), laptop.id);
    let error = forward(&mut forwarder, &mut upstream).unwrap_err();
    assert!(
        matches!(error, ForwardError::Gone { id } if id == gone),
        "{error}"
    );
    assert_eq!(upstream.published.len(), published);
    upstream.objects.insert((ObjectKind::Pack, gone), lost);
    assert_eq!(forward(&mut forwarder, &mut upstream).unwrap(), [SetSeq(3)]);
}

#[test]
fn a_set_of_which_the_manifest_or_the_receipt_is_damaged_is_left_alone() {
    for (set, file) in [(1, "manifest"), (1, "upstream"), (3, "manifest")] {
        let (hub, mut laptop) = (Hub::new(), Laptop::new(1));
        two_of_three(&hub, &mut laptop, &mut Memory::default());
        let before = left(&hub, &laptop);
        let manifests: Vec<Manifest> = (1..=3).map(|set| manifest(&hub, &laptop, set)).collect();
        let folder = berth_bridge::Spool::repository_folder(&laptop.id).replace("/repository", "/sets");
        hub.disk.flip_bit(&format!("{folder}/{set}/{file}"), 77).unwrap();
        leave_room(&hub, 0);
        hub.spool().make_room(&laptop.id, ALL).unwrap();
        let left = [0, 1, 2].map(|at: usize| {
            let all = entries(&hub, laptop.id, &manifests[at]).into_iter();
            let packs = all.filter(|entry| entry.kind == ObjectKind::Pack);
            packs
                .filter(|entry| hub.object(laptop.id, &path(entry.kind, &entry.id)).is_some())
                .count()
        });
        // What a set needs that is not upstream cannot be told: nothing of the laptop goes.
        let expected = if set == 3 {
            before
        } else {
            [before[0], 0, before[2]]
        };
        assert_eq!(left, expected, "{file} of set {set}");
    }
}

#[test]
fn a_pack_that_two_sets_list_stays_until_both_are_upstream() {
    let (hub, mut laptop) = (Hub::new(), Laptop::new(1));
    let mut visit = laptop.visit(&hub);
    visit.open_set();
    let pack = visit.open(ObjectKind::Pack, false);
    visit.chunk(pack, 4_000);
    visit.flush();
    visit.session.input(Input::Cut);
    drop(visit);
    let mut upstream = Memory::default();
    // A power cut brings the tail back that the set before was made of, and the laptop makes the same pack of it.
    let tails = berth_bridge::Spool::repository_folder(&laptop.id).replace("/repository", "/tails");
    let tail = format!("{tails}/{}", hub.disk.list(&tails).unwrap()[0]);
    let bytes = hub.disk.read(&tail, 1 << 20).unwrap();
    let mut sets = Vec::new();
    for _ in 0..2 {
        if hub.disk.len(&tail).unwrap().is_none() {
            hub.disk.create(&tail).unwrap().append(&bytes).unwrap();
        }
        let mut visit = laptop.visit(&hub);
        let answer = visit.session.ask(ToHub::Salvage {
            upload: pack,
            length: 4_000,
            digest: Id::of(&bytes[..4_000]),
            header: vec![7; 50],
        });
        let Some(ToLaptop::Salvaged {
            pack: Some(id),
            length,
            ..
        }) = answer
        else {
            panic!("{answer:?}");
        };
        visit.open_set();
        let kind = ObjectKind::Pack;
        visit.entries.push(ObjectEntry { kind, id, length });
        assert!(visit.commit());
        sets.push((visit.set, id));
        drop(visit);
    }
    assert_eq!(sets[0].1, sets[1].1);
    forward_some(&hub, &laptop, &mut upstream, 1);
    leave_room(&hub, 0);
    hub.spool().make_room(&laptop.id, ALL).unwrap();
    assert!(
        hub.object(laptop.id, &path(ObjectKind::Pack, &sets[0].1))
            .is_some()
    );
    hub.check_sets(laptop.id);
    forward_some(&hub, &laptop, &mut upstream, 1);
    hub.spool().make_room(&laptop.id, ALL).unwrap();
    assert!(
        hub.object(laptop.id, &path(ObjectKind::Pack, &sets[0].1))
            .is_none()
    );
    assert_eq!(verified(&hub, &laptop).0, []);
}

#[test]
fn a_set_cannot_count_on_the_pack_of_another() {
    let (hub, mut laptop) = (Hub::new(), Laptop::new(1));
    three_sets(&hub, &mut laptop);
    let old = packs(&hub, &laptop, 2)[0].0;
    let mut visit = laptop.visit(&hub);
    visit.open_set();
    visit.entries.push(old);
    assert!(!visit.commit());
    drop(visit);
    let numbers: BTreeSet<SetSeq> = hub
        .spool()
        .sets(&laptop.id)
        .unwrap()
        .iter()
        .map(|set| set.seq)
        .collect();
    assert!(!numbers.contains(&SetSeq(4)));
    assert!(
        hub.object(laptop.id, &path(ObjectKind::Pack, &Id::new(*old.id.as_bytes())))
            .is_some()
    );
}
