//! The journal may be lost, damaged or set back: the spool knows.

use std::fs;

use berth_bridge::{Forwarder, Input, Journal, Opened, Progress, Repair, SetRecord};
use berth_wire::{ObjectKind, SetSeq};

use crate::hub::{Hub, NOW_NS, copy};
use crate::laptop::Laptop;

fn words(hub: &Hub, laptop: &Laptop) -> Vec<&'static str> {
    let sets = hub.spool().sets(&laptop.id).unwrap();
    sets.iter().map(SetRecord::word).collect()
}

/// A partial set, which is forwarded, and a complete one.
fn two_sets(hub: &Hub, laptop: &mut Laptop, upstream: &std::path::Path) {
    let mut visit = laptop.visit(hub);
    visit.open_set();
    let open = visit.open(ObjectKind::Pack, false);
    visit.chunk(open, 4_000);
    assert!(visit.checkpoint(&[open]));
    visit.session.input(Input::Cut);
    drop(visit);
    let mut folder = berth_bridge::FolderUpstream::new(upstream, &[1; 32]);
    let mut forwarder = Forwarder::new(hub.spool().clone(), laptop.id);
    while forwarder.step(&mut folder, NOW_NS).unwrap() != Progress::Idle {}
    let mut visit = laptop.visit(hub);
    visit.open_set();
    assert!(visit.commit());
    drop(visit);
    assert_eq!(words(hub, laptop), ["forwarded", "complete"]);
}

#[test]
fn a_journal_that_is_gone_damaged_or_set_back_is_rebuilt_from_the_spool() {
    let (mut hub, mut laptop) = (Hub::new(), Laptop::new(1));
    let empty = hub.folder.path().join("empty");
    let upstream = tempfile::tempdir().unwrap();
    copy(&hub.journal(), &empty);
    two_sets(&hub, &mut laptop, upstream.path());
    let sets = |hub: &Hub| hub.spool().sets(&laptop.id).unwrap();
    let before = sets(&hub);
    let whole = hub.folder.path().join("whole");
    hub.stop();
    copy(&hub.journal(), &whole);
    let size = fs::metadata(whole.join("db")).unwrap().len();
    type Harm<'a> = Box<dyn Fn(&std::path::Path) + 'a>;
    let mut harms: Vec<(String, Harm<'_>)> = vec![
        ("gone".into(), Box::new(|path| fs::remove_dir_all(path).unwrap())),
        ("set back".into(), Box::new(|path| copy(&empty, path))),
        (
            "no file".into(),
            Box::new(|path| fs::remove_file(path.join("db")).unwrap()),
        ),
        (
            "config".into(),
            Box::new(|path| fs::write(path.join("conf"), b"xxxx").unwrap()),
        ),
    ];
    for part in [0, 1, 2, 3] {
        let cut = move |path: &std::path::Path| {
            let file = fs::OpenOptions::new().write(true).open(path.join("db")).unwrap();
            file.set_len(size * part / 4).unwrap();
        };
        harms.push((format!("cut to {part}/4"), Box::new(cut)));
    }
    for at in (0..2_000).step_by(97) {
        let flip = move |path: &std::path::Path| {
            let mut bytes = fs::read(path.join("db")).unwrap();
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 0x10;
            }
            fs::write(path.join("db"), bytes).unwrap();
        };
        harms.push((format!("bit of byte {at} flipped"), Box::new(flip)));
    }
    for (what, harm) in harms {
        hub.stop();
        copy(&whole, &hub.journal());
        harm(&hub.journal());
        hub.start().unwrap();
        let mut after = sets(&hub);
        // A receipt that is signed anew says the same.
        for (before, after) in before.iter().zip(&mut after) {
            assert_eq!(before.set_ref(), after.set_ref(), "{what}");
        }
        assert_eq!(words(&hub, &laptop), ["forwarded", "complete"], "{what}");
        assert!(hub.opened.is_some());
        hub.restart();
        assert_eq!(
            words(&hub, &laptop),
            ["forwarded", "complete"],
            "{what}, started again"
        );
        assert_eq!(hub.repairs, []);
    }
    let visit = laptop.visit(&hub);
    assert_eq!(visit.set, SetSeq(3));
}

#[test]
fn a_damaged_journal_is_put_aside_and_it_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let (journal, opened) = Journal::open(&path, None).unwrap();
    assert_eq!(opened, Opened::New);
    drop(journal);
    let whole = folder.path().join("whole");
    copy(&path, &whole);
    let (_, opened) = Journal::open(&whole, None).unwrap();
    assert_eq!(opened, Opened::Whole);
    let harmed = folder.path().join("harmed");
    copy(&path, &harmed);
    fs::write(harmed.join("conf"), b"segment_size: 7\n").unwrap();
    let (_, opened) = Journal::open(&harmed, None).unwrap();
    assert!(matches!(opened, Opened::Damaged { .. }), "{opened:?}");
    assert!(folder.path().join("harmed.damaged/db").exists());
}

#[test]
fn a_set_that_is_not_in_the_spool_is_forgotten_but_not_its_number() {
    let (mut hub, mut laptop) = (Hub::new(), Laptop::new(1));
    let upstream = tempfile::tempdir().unwrap();
    let before = hub.disk.clone();
    two_sets(&hub, &mut laptop, upstream.path());
    let last = laptop.visit(&hub).laptop.last;
    // The spool's disk is replaced by an empty one; the laptop still names its last set.
    drop(before);
    hub.stop();
    hub.disk = berth_radio_sim::SimDisk::new();
    hub.start().unwrap();
    laptop.last = last;
    let visit = laptop.visit(&hub);
    assert_eq!((visit.set, visit.laptop.last), (SetSeq(3), None));
}

#[test]
fn a_manifest_that_another_signed_makes_no_set() {
    let (mut hub, mut laptop) = (Hub::new(), Laptop::new(1));
    let upstream = tempfile::tempdir().unwrap();
    two_sets(&hub, &mut laptop, upstream.path());
    let files = hub.disk.contents();
    let (path, _) = files
        .iter()
        .find(|(path, _)| path.ends_with("sets/2/manifest"))
        .unwrap();
    hub.disk.flip_bit(path, 8 * 40).unwrap();
    hub.stop();
    fs::remove_dir_all(hub.journal()).unwrap();
    hub.start().unwrap();
    assert_eq!(words(&hub, &laptop), ["forwarded"]);
    assert!(matches!(
        hub.repairs[..],
        [Repair::Rebuilt { .. }, Repair::Unreadable { .. }]
    ));
    assert_eq!(laptop.visit(&hub).set, SetSeq(3), "its number is not given again");
}
