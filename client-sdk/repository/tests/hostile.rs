//! Damaged and hostile input leads to an error, never to a panic.

use berth_repository::{
    Config, IndexFile, KeyFile, MasterKey, Snapshot, Tree, open_file, parse_header, parse_pack, seal_file,
};
use proptest::prelude::*;

const INDEX: &str = concat!(
    r#"{"packs":[{"id":"b0891851f3c681121a6a51e9fc8610ca19c25f1588513171a6202cb8bddaa12a","blobs":["#,
    r#"{"id":"8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4","type":"data","offset":0,"#,
    r#""length":43,"uncompressed_length":2}]}]}"#
);
const SNAPSHOT: &str = concat!(
    r#"{"time":"2026-11-22T15:43:53.620465707Z","#,
    r#""tree":"6a670001222e37e6f04602c633f3e651d47eb4d7ca1cfb3e12f7e733d18f57f5","paths":["/"],"tags":["a"]}"#
);

fn key() -> MasterKey {
    MasterKey::from_bytes(&[7; 64]).expect("not zero")
}

/// A hub can't make such a file, but a later version of a program could.
fn sealed(json: &[u8]) -> Vec<u8> {
    seal_file(&key(), [1; 16], json).expect("short").bytes
}

fn tree() -> String {
    let nodes: Vec<&str> = include_str!("fixtures/nodes.jsonl").lines().collect();
    format!("{{\"nodes\":[{}]}}", nodes.join(","))
}

/// `text` with some of its bytes replaced, and cut at some place.
fn damaged(text: String) -> impl Strategy<Value = Vec<u8>> {
    let length = text.len();
    let bytes = prop_oneof![any::<u8>(), prop::sample::select(&br#"{}[]",:\0u-x"#[..])];
    (
        prop::collection::vec((0..length, bytes), 0..4),
        prop_oneof![Just(length), 0..=length],
    )
        .prop_map(move |(changes, cut)| {
            let mut damaged = text.clone().into_bytes();
            for (position, byte) in changes {
                damaged[position] = byte;
            }
            damaged.truncate(cut);
            damaged
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn damaged_trees_never_panic(json in damaged(tree())) {
        if let Ok(tree) = Tree::from_json(&json) {
            prop_assert_eq!(&Tree::from_json(&tree.to_json()).expect("what we write we read"), &tree);
        }
    }

    #[test]
    fn damaged_indexes_never_panic(json in damaged(INDEX.to_owned())) {
        if let Ok(index) = IndexFile::open(&key(), &sealed(&json)) {
            for blob in index.packs.iter().flat_map(|pack| &pack.blobs) {
                let _ = (blob.end(), blob.raw_length());
            }
        }
    }

    #[test]
    fn damaged_snapshots_never_panic(json in damaged(SNAPSHOT.to_owned())) {
        if let Ok(snapshot) = Snapshot::open(&key(), &sealed(&json)) {
            let again = snapshot.seal(&key(), [2; 16]).expect("short");
            prop_assert_eq!(&Snapshot::open(&key(), &again.bytes).expect("what we write we read"), &snapshot);
        }
    }

    #[test]
    fn sealed_rubbish_never_panics(plain: Vec<u8>) {
        let mut sealed = key().seal([1; 16], &plain);
        let _ = open_file(&key(), &sealed);
        let _ = Config::open(&key(), &sealed);
        let _ = Config::open(&key(), &plain);
        sealed.extend_from_slice(&(sealed.len() as u32).to_le_bytes());
        let _ = parse_pack(&key(), &sealed);
        let _ = parse_header(&key(), &plain);
        prop_assert!(KeyFile::open(&plain, "password").is_err());
    }
}
