//! What a repository may hold after its seals were opened: trees, indexes, snapshots, pack headers.
#![no_main]

use berth_repository::{IndexFile, KeyFile, MasterKey, Snapshot, Tree, parse_header, parse_pack};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let key = MasterKey::from_bytes(&[7; 64]);
    if let Ok(tree) = Tree::from_json(data) {
        let _ = tree.to_json();
    }
    if let Ok(index) = IndexFile::from_json(data) {
        let _ = index.to_json();
    }
    if let Ok(snapshot) = Snapshot::from_json(data) {
        let _ = snapshot.to_json();
    }
    if let Ok(key) = key {
        let _ = parse_header(&key, data);
        let _ = parse_pack(&key, data);
        let _ = berth_repository::open_file(&key, data);
    }
    // A key file names the cost of opening it: only what is cheap is tried.
    if data.len() < 64 {
        let _ = KeyFile::open(data, "");
    }
});
