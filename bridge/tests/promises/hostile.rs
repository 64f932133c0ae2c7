//! A laptop that lies harms only its own visit.

use berth_bridge::{Ended, Input, ReceiveError, StoreError};
use berth_repository::Id;
use berth_wire::{
    Mark, OPEN_PACKS_MAX, ObjectEntry, ObjectKind, OpenPack, Refusal, SetKind, SetRef, SetSeq, ToHub,
    ToLaptop, UploadId,
};

use crate::hub::Hub;
use crate::laptop::{Laptop, Visiting};

/// Runs `lie` in a visit that has a closed pack, an open one and a checkpoint; the visit must end with `Disagree`, the
/// checkpoint must be sealed, and the hub must go on.
#[track_caller]
fn refused(lie: impl FnOnce(&mut Visiting<'_>, UploadId)) -> Ended {
    let hub = Hub::new();
    let mut laptop = Laptop::new(1);
    let mut other = Laptop::new(2);
    let mut visit = laptop.visit(&hub);
    visit.open_set();
    let closed = visit.open(ObjectKind::Pack, false);
    visit.chunk(closed, 900);
    visit.close(closed);
    let open = visit.open(ObjectKind::Pack, false);
    visit.chunk(open, 800);
    assert!(visit.checkpoint(&[open]));
    lie(&mut visit, open);
    let end = visit.session.end.take().expect("the visit went on");
    let refused = ToLaptop::Refused {
        why: Refusal::Disagree,
    };
    assert_eq!(visit.session.heard.last(), Some(&refused));
    assert!(end.sealed.is_some(), "the checkpoint was lost");
    drop(visit);
    hub.check_sets(laptop.id);
    let mut visit = other.visit(&hub);
    visit.open_set();
    assert!(visit.commit());
    end.why
}

fn number(visit: &Visiting<'_>, number: u32) -> UploadId {
    UploadId {
        set: visit.set,
        number,
    }
}

#[test]
fn an_upload_that_does_not_hash_to_its_id_is_refused() {
    let why = refused(|visit, open| {
        visit.session.say(ToHub::Close {
            upload: open,
            id: Id::of(b"something else"),
            length: 800,
        });
    });
    assert!(matches!(why, Ended::Store(StoreError::Mismatch { .. })), "{why}");
}

#[test]
fn an_upload_of_another_length_is_refused() {
    let why = refused(|visit, open| {
        let id = Id::of(&visit.laptop.sent[&open].bytes);
        visit.session.say(ToHub::Close {
            upload: open,
            id,
            length: 801,
        });
    });
    assert!(
        matches!(why, Ended::Broken(ReceiveError::Contradiction { .. })),
        "{why}"
    );
}

#[test]
fn an_object_over_its_limit_is_refused() {
    for kind in [
        ObjectKind::Snapshot,
        ObjectKind::Page,
        ObjectKind::Index,
        ObjectKind::Pack,
    ] {
        let why = refused(|visit, _| {
            let upload = visit.open(kind, true);
            let piece = vec![0; 64_000];
            for _ in 0..=berth_bridge::size_bytes_max(kind) / 64_000 {
                visit.session.data(upload, &piece);
            }
        });
        assert!(matches!(why, Ended::Broken(ReceiveError::Limit { .. })), "{why}");
    }
}

#[test]
fn too_many_open_uploads_are_refused() {
    let why = refused(|visit, _| {
        for _ in 0..berth_bridge::UPLOADS_OPEN_MAX {
            visit.open(ObjectKind::Pack, false);
        }
    });
    assert!(matches!(why, Ended::Broken(ReceiveError::Limit { .. })), "{why}");
}

#[test]
fn too_many_uploads_in_one_visit_are_refused() {
    let open = |visit: &mut Visiting<'_>, at| {
        let upload = number(visit, at);
        visit.session.say(ToHub::Open {
            upload,
            kind: ObjectKind::Pack,
            provisional: false,
        });
    };
    let why = refused(|visit, _| {
        open(visit, berth_bridge::UPLOADS_MAX - 1);
        assert!(visit.session.end.is_none());
        open(visit, berth_bridge::UPLOADS_MAX);
    });
    assert!(matches!(why, Ended::Broken(ReceiveError::Limit { .. })), "{why}");
}

#[test]
fn numbers_that_do_not_grow_are_refused() {
    for wrong in [0, 1, u32::MAX] {
        refused(|visit, _| {
            let upload = number(visit, wrong);
            visit.session.say(ToHub::Open {
                upload,
                kind: ObjectKind::Pack,
                provisional: false,
            });
        });
    }
    refused(|visit, _| {
        let upload = UploadId {
            set: SetSeq(visit.set.0 + 1),
            number: 500,
        };
        visit.session.say(ToHub::Open {
            upload,
            kind: ObjectKind::Pack,
            provisional: false,
        });
    });
    refused(|visit, _| visit.session.say(ToHub::Flush { mark: Mark(1) }));
}

#[test]
fn bytes_of_no_upload_are_refused() {
    refused(|visit, _| visit.session.data(number(visit, 0), b"x"));
    refused(|visit, open| visit.session.data(open, b""));
    refused(|visit, open| {
        let elsewhere = UploadId {
            set: SetSeq(77),
            number: open.number,
        };
        visit.session.data(elsewhere, b"x");
    });
}

#[test]
fn a_message_out_of_its_place_is_refused() {
    let begin = |repository| ToHub::Begin {
        protocol: 1,
        repository,
        last: None,
    };
    refused(|visit, _| visit.session.say(begin(Id::of(b""))));
    refused(|visit, _| visit.session.say(ToHub::OpenSet { created_at_ns: 0 }));
    refused(|visit, open| {
        visit.session.say(ToHub::Salvage {
            upload: open,
            length: 1,
            digest: Id::of(b""),
            header: vec![1],
        });
    });
    // A commit while an upload is open.
    refused(|visit, _| {
        visit.commit();
    });
}

#[test]
fn a_second_config_or_key_is_refused() {
    let hub = Hub::new();
    let mut laptop = Laptop::new(1);
    let mut visit = laptop.visit(&hub);
    visit.open_set();
    assert!(visit.commit());
    drop(visit);
    for kind in [ObjectKind::Config, ObjectKind::Key] {
        let mut visit = laptop.visit(&hub);
        visit.open_set();
        visit.open(kind, false);
        assert!(visit.session.end.is_some());
    }
    let config = hub.object(laptop.id, "config").unwrap();
    assert_eq!(config, laptop.config);
}

#[test]
fn another_repository_is_refused() {
    let hub = Hub::new();
    let mut laptop = Laptop::new(1);
    let mut visit = laptop.visit(&hub);
    visit.open_set();
    assert!(visit.commit());
    drop(visit);
    laptop.config = b"another".to_vec();
    assert!(laptop.try_visit(&hub).is_none());
}

#[test]
fn a_newer_protocol_is_told_so() {
    let hub = Hub::new();
    let laptop = Laptop::new(1);
    let mut session = hub.visit(laptop.id);
    let answer = session.ask(ToHub::Begin {
        protocol: 2,
        repository: Id::of(b""),
        last: None,
    });
    let why = Refusal::Protocol;
    assert_eq!(answer, Some(ToLaptop::Refused { why }));
    assert!(session.end.is_some());
}

#[test]
fn an_absurd_last_number_is_refused_and_a_plausible_one_is_outbid() {
    let hub = Hub::new();
    let mut laptop = Laptop::new(1);
    let last = |seq| {
        Some(SetRef {
            seq: SetSeq(seq),
            manifest: Id::of(b""),
        })
    };
    laptop.last = last(u64::MAX);
    assert!(laptop.try_visit(&hub).is_none());
    laptop.last = last(41);
    let visit = laptop.visit(&hub);
    assert_eq!((visit.set, visit.laptop.last), (SetSeq(42), None));
}

#[test]
fn a_manifest_that_is_not_what_the_hub_holds_is_refused() {
    type Change = fn(&mut berth_wire::Manifest);
    let changes: [(&str, Change); 14] = [
        ("format", |m| m.format = 2),
        ("laptop", |m| m.laptop = [9; 32]),
        ("hub", |m| m.hub = [9; 32]),
        ("repository", |m| m.repository = Id::of(b"other")),
        ("set", |m| m.set = SetSeq(9)),
        ("kind", |m| m.kind = SetKind::Complete),
        ("mark", |m| m.mark = 99),
        ("previous", |m| {
            m.previous = Some(SetRef {
                seq: m.set,
                manifest: m.snapshot,
            });
        }),
        ("snapshot", |m| m.snapshot = Id::of(b"other")),
        ("page", |m| m.pages.push(Id::of(b"none"))),
        ("objects", |m| m.objects += 1),
        ("bytes", |m| m.bytes -= 1),
        ("length", |m| {
            m.tail[0].length += 1;
            m.bytes += 1;
        }),
        ("missing", |m| {
            m.tail.push(ObjectEntry {
                kind: ObjectKind::Pack,
                id: Id::of(b"none"),
                length: 0,
            });
            m.objects += 1;
        }),
    ];
    for (what, change) in changes {
        let why = refused(|visit, _| {
            let snapshot = visit.whole(ObjectKind::Snapshot, b"snapshot", true);
            let mut tail = visit.entries.clone();
            tail.push(ObjectEntry {
                kind: ObjectKind::Snapshot,
                id: snapshot,
                length: 8,
            });
            let mut manifest = visit.manifest(SetKind::Partial, 50, snapshot, tail);
            change(&mut manifest);
            let manifest = visit.sign(&manifest);
            visit.session.say(ToHub::Checkpoint {
                mark: Mark(50),
                open: Vec::new(),
                manifest,
            });
        });
        assert!(
            matches!(why, Ended::Store(StoreError::Mismatch { .. })),
            "{what}: {why}"
        );
    }
}

#[test]
fn a_manifest_signed_by_another_is_refused() {
    refused(|visit, _| {
        let snapshot = visit.whole(ObjectKind::Snapshot, b"snapshot", true);
        let tail = visit.entries.clone();
        let mut manifest = visit.sign(&visit.manifest(SetKind::Partial, 50, snapshot, tail));
        manifest.signature[5] ^= 1;
        visit.session.say(ToHub::Checkpoint {
            mark: Mark(50),
            open: Vec::new(),
            manifest,
        });
    });
}

#[test]
fn an_open_pack_that_would_not_be_what_it_says_is_refused() {
    let checkpoint = |visit: &mut Visiting<'_>, open: Vec<OpenPack>| {
        let manifest = visit.sign(&visit.manifest(SetKind::Partial, 50, Id::of(b""), Vec::new()));
        visit.session.say(ToHub::Checkpoint {
            mark: Mark(50),
            open,
            manifest,
        });
    };
    let pack = |upload, length, header: Vec<u8>| OpenPack {
        upload,
        length,
        header,
        pack: Id::of(b"wrong"),
    };
    refused(|visit, open| checkpoint(visit, vec![pack(open, 800, vec![1])]));
    refused(|visit, open| checkpoint(visit, vec![pack(open, 700, vec![1])])); // not the running hash's length
    refused(|visit, open| checkpoint(visit, vec![pack(open, 801, vec![1])]));
    refused(|visit, open| checkpoint(visit, vec![pack(open, 800, Vec::new())]));
    refused(|visit, open| {
        let header = vec![0; berth_bridge::PACK_HEADER_SIZE_BYTES_MAX + 1];
        checkpoint(visit, vec![pack(open, 800, header)]);
    });
    refused(|visit, open| checkpoint(visit, vec![pack(open, 800, vec![1]); 2]));
    refused(|visit, open| checkpoint(visit, vec![pack(open, 800, vec![1]); OPEN_PACKS_MAX + 1]));
    refused(|visit, _| {
        let closed = number(visit, 2);
        checkpoint(visit, vec![pack(closed, 900, vec![1])]);
    });
}

#[test]
fn what_a_laptop_says_after_the_end_changes_nothing() {
    let hub = Hub::new();
    let mut laptop = Laptop::new(1);
    let mut visit = laptop.visit(&hub);
    visit.open_set();
    visit.session.input(Input::Stop(Refusal::Revoked));
    let why = Refusal::Revoked;
    assert_eq!(visit.session.heard.last(), Some(&ToLaptop::Refused { why }));
    let heard = visit.session.heard.len();
    let changes = hub.disk.changes();
    visit.open(ObjectKind::Pack, false);
    visit.flush();
    visit.session.say(ToHub::Goodbye);
    assert_eq!((visit.session.heard.len(), hub.disk.changes()), (heard, changes));
}
