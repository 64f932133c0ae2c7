//! What a hub has removed to make room comes back through it, from the upstream.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;

use berth_tests::compare::{Owners, assert_same, files};
use berth_tests::corpus;
use berth_tests::programs::Office;

/// Packs in the hub's spool.
fn packs_here(office: &Office) -> usize {
    let all = files(&office.hub_state()).unwrap();
    let is_pack = |path: &&std::path::PathBuf| path.to_str().unwrap().contains("/repository/data/");
    all.iter().filter(is_pack).count()
}

#[test]
fn what_the_hub_has_removed_to_make_room_is_restored_through_it() {
    let mut office = Office::new();
    // The least that there is: after one set a visit finds less room than it may need.
    office.set("spool_max = \"256 MB\"");
    office.set("forward = \"manual\"");
    office.start_air("perfect");
    office.start_hub(&[]);
    let laptop = office.laptop("laptop");
    corpus::incompressible(&laptop.folder, 5, 230_000_000).unwrap();
    corpus::small_files(&laptop.folder.join("small"), 6, 30).unwrap();
    office.pair(&laptop);
    laptop.back_up();
    let packs = packs_here(&office);
    office.ctl(&["forward"]);
    laptop.back_up();
    assert!(
        packs_here(&office) < packs,
        "the hub had no need for its upstream"
    );
    let restored = laptop.restore(&office.path().join("first"));
    assert_same(&laptop.folder, &restored, Owners::of_this_user());

    // While the upstream is away it is said why, and afterwards it goes on.
    let away = office.path().join("away");
    fs::rename(office.upstream(), &away).unwrap();
    let target = office.path().join("second");
    let restore = ["restore", "latest", "--to", target.to_str().unwrap()];
    let ended = laptop.start(&restore).end();
    assert!(ended.code != 0, "{ended}");
    assert!(ended.to_string().contains("is its disk mounted?"), "{ended}");
    fs::rename(&away, office.upstream()).unwrap();
    let restored = laptop.restore(&target);
    assert_same(&laptop.folder, &restored, Owners::of_this_user());
}
