//! What a repository may hold once its seals are opened: trees, indexes, snapshots, blobs, pack headers. Whoever has the
//! key can make such files, and so can a later version of a program.
#![no_main]

use std::num::NonZeroU32;

use berth_repository::{
    BlobKind, Config, Id, IndexFile, MasterKey, PackBlob, Snapshot, Tree, open_blob, open_file, parse_header,
    parse_pack, seal_file,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let key = MasterKey::from_bytes(&[7; 64]).expect("not zero");
    if let Ok(tree) = Tree::from_json(data) {
        assert_eq!(Tree::from_json(&tree.to_json()).ok(), Some(tree));
    }
    if let Ok(file) = seal_file(&key, [1; 16], data) {
        let _ = IndexFile::open(&key, &file.bytes);
        let _ = Snapshot::open(&key, &file.bytes);
    }
    let mut sealed = key.seal([2; 16], data);
    let _ = open_file(&key, &sealed);
    let _ = Config::open(&key, &sealed);
    let blob = PackBlob {
        id: Id::of(b""),
        kind: BlobKind::Data,
        offset: 0,
        length: sealed.len() as u32,
        uncompressed_length: NonZeroU32::new(1 << 20),
    };
    let _ = open_blob(&key, &blob, &sealed);
    sealed.extend_from_slice(&(sealed.len() as u32).to_le_bytes());
    let _ = parse_header(&key, &sealed);
    let _ = parse_pack(&key, &sealed);
});
