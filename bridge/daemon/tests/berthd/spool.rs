//! A spool with one sealed set, made without a laptop: the hub sees ciphertext anyway.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use berth_bridge::{Journal, LaptopId, Spool, StoreDone, StoreOp};
use berth_disk::OsDisk;
use berth_pairing::Identity;
use berth_repository::Id;
use berth_wire::{MANIFEST_CONTEXT, Manifest, ObjectEntry, ObjectKind, SetKind, SetSeq, Signed, ToLaptop};
use bytes::Bytes;
use rand_core::OsRng;
use serde_json::json;

use crate::support::Hub;

pub(crate) struct Sealed {
    pub(crate) laptop: LaptopId,
    pub(crate) pack: PathBuf,
    pub(crate) snapshot: String,
}

/// Seals a set of a new laptop in the state folder, while no hub runs.
pub(crate) fn sealed_set(state: &Path) -> Sealed {
    let disk = Arc::new(OsDisk::open(state).unwrap());
    let hub = Arc::new(Identity::open_or_generate(&*disk, &mut OsRng).unwrap());
    let (journal, _) = Journal::open(state.join("journal"), None).unwrap();
    let (spool, _) = Spool::open(disk, journal, hub.clone(), 0).unwrap();
    let identity = Identity::generate(&mut OsRng);
    let laptop = LaptopId::from(identity.device());
    let mut visit = spool.visit(laptop).unwrap();
    let mut tell = |op| match visit.execute(op, 1_700_000_000_000_000_000) {
        Some(StoreDone::Failed(error)) => panic!("{error:?}"),
        done => done,
    };
    let objects: Vec<(ObjectKind, Vec<u8>)> = vec![
        (ObjectKind::Config, b"config".to_vec()),
        (ObjectKind::Key, b"key".to_vec()),
        (ObjectKind::Pack, laptop.0.repeat(8_000)),
        (ObjectKind::Index, b"index".to_vec()),
        (ObjectKind::Snapshot, b"snapshot".to_vec()),
    ];
    let repository = Id::of(b"config");
    tell(StoreOp::Begin {
        repository,
        last: None,
    });
    let set = SetSeq(1);
    tell(StoreOp::OpenSet {
        set,
        created_at_ns: 5,
    });
    let mut tail = Vec::new();
    for (number, (kind, bytes)) in (0..).zip(objects) {
        let (id, length) = (Id::of(&bytes), bytes.len() as u64);
        tell(StoreOp::Open {
            number,
            kind,
            provisional: false,
        });
        for piece in bytes.chunks(60_000) {
            tell(StoreOp::Append {
                number,
                bytes: Bytes::copy_from_slice(piece),
            });
        }
        tell(StoreOp::Close { number, id });
        tail.push(ObjectEntry { kind, id, length });
    }
    let manifest = Manifest {
        format: 1,
        laptop: laptop.0,
        hub: hub.device().0,
        repository,
        set,
        kind: SetKind::Complete,
        mark: 0,
        previous: None,
        snapshot: tail[4].id,
        created_at_ns: 5,
        pages: Vec::new(),
        objects: tail.len() as u64,
        bytes: tail.iter().map(|entry| entry.length).sum(),
        tail: tail.clone(),
        not_read: 0,
    };
    let body = serde_cbor::ser::to_vec_packed(&manifest).unwrap();
    let signature = identity.sign(MANIFEST_CONTEXT, &body).to_vec();
    let manifest = Signed { body, signature };
    let done = tell(StoreOp::Commit { manifest });
    assert!(
        matches!(done, Some(StoreDone::Answer(ToLaptop::Receipt { .. }))),
        "{done:?}"
    );
    tell(StoreOp::Leave);
    let pack = tail[2].id.to_string();
    Sealed {
        laptop,
        pack: Path::new(&Spool::repository_folder(&laptop))
            .join("data")
            .join(&pack[..2])
            .join(&pack),
        snapshot: tail[4].id.to_string(),
    }
}

fn verified(hub: &Hub) -> Vec<serde_json::Value> {
    let mut lines = hub.ask(&json!({ "do": "verify" }));
    assert_eq!(lines.pop(), Some(json!({ "done": true })));
    lines.retain(|line| line["event"] != "progress");
    lines
}

#[test]
fn verify_names_a_flipped_bit_and_a_lost_file_and_nothing_else() {
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("hub");
    let sealed = sealed_set(&state);
    let pack = state.join(&sealed.pack);
    let hub = Hub::start(&state, &[]);
    assert_eq!(verified(&hub)[0]["faults"], 0);
    let whole = fs::read(&pack).unwrap();
    let mut bytes = whole.clone();
    bytes[100_000] ^= 1;
    fs::write(&pack, &bytes).unwrap();
    let lines = verified(&hub);
    assert_eq!(
        (lines.len(), &lines[0]["what"]),
        (2, &json!("damaged")),
        "{lines:#?}"
    );
    assert_eq!(lines[0]["path"], sealed.pack.to_str().unwrap());
    assert_eq!((&lines[0]["set"], &lines[1]["faults"]), (&json!(1), &json!(1)));
    fs::remove_file(&pack).unwrap();
    assert_eq!(verified(&hub)[0]["what"], "missing");
    fs::write(&pack, whole).unwrap();
    assert_eq!(verified(&hub)[0]["faults"], 0);
    hub.stop();
}

#[test]
fn sets_are_told_with_exactly_the_fields_that_scripts_rely_on() {
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("hub");
    let sealed = sealed_set(&state);
    let hub = Hub::start(&state, &[]);
    let mut set = hub.ask(&json!({ "do": "sets" })).remove(0);
    assert_eq!(
        set.as_object_mut().unwrap().remove("key").unwrap(),
        sealed.laptop.hex()
    );
    assert_eq!(
        set,
        json!({
            "laptop": format!("laptop-{}", sealed.laptop), "seq": 1, "kind": "complete", "state": "complete",
            "created_at": "1970-01-01T00:00:00.000000005Z", "sealed_at": "2023-11-14T22:13:20Z",
            "snapshot": sealed.snapshot, "objects": 5, "bytes": 256_022, "forwarded_at": null,
        })
    );
    hub.stop();
}

#[test]
fn a_damaged_journal_is_rebuilt_from_the_spool_and_said() {
    // sled refuses the one, and takes the other for an empty journal.
    for (file, said) in [
        ("conf", "the journal was damaged"),
        ("db", "the journal knows set 1 again"),
    ] {
        let place = tempfile::tempdir().unwrap();
        let state = place.path().join("hub");
        sealed_set(&state);
        let path = state.join("journal").join(file);
        let size_bytes = fs::read(&path).unwrap().len();
        fs::write(&path, vec![0xa5; size_bytes]).unwrap();
        let (hub, log) = Hub::start_with(&state, &mut crate::support::berthd(&state));
        assert!(log.iter().any(|line| line.contains(said)), "{log:#?}");
        assert_eq!(hub.ask(&json!({ "do": "sets" }))[0]["state"], "complete");
        hub.stop();
    }
}
