//! What of a set, and of those before it, is upstream.

use std::collections::BTreeMap;

use berth_repository::Id;
use berth_wire::{Manifest, ObjectEntry, ObjectKind};

use super::{ForwardError, Forwarder, Set};
use crate::spool::damaged;
use crate::{Spool, Upstream};

/// What a look at the upstream found.
#[derive(Default)]
pub(super) struct Seen {
    /// Of this set and those before.
    pub(super) missing: Vec<ObjectEntry>,
    /// Of this set, at its full length.
    pub(super) there: Vec<ObjectEntry>,
}

impl Forwarder {
    /// Compares the upstream with this set (all but its snapshot) and with the sets before (packs and index: the snapshot
    /// may need their chunks; keys only where there is none at all, as at a new upstream, for the owner may have deleted
    /// one for good).
    pub(super) fn look(&self, upstream: &mut dyn Upstream, set: &Set) -> Result<Seen, ForwardError> {
        let mut there = BTreeMap::new();
        let kinds = [ObjectKind::Pack, ObjectKind::Index, ObjectKind::Key];
        for kind in kinds {
            upstream.list(kind, &mut |id, length| {
                there.insert((kind, id), length);
            })?;
        }
        let has_key = there.keys().any(|(kind, _)| *kind == ObjectKind::Key);
        let kinds_before = if has_key { &kinds[..2] } else { &kinds[..] };
        let mut seen = Seen::default();
        for before in &set.before {
            let signed = self.spool.manifest(&self.laptop, *before)?;
            let signed = signed.ok_or_else(|| damaged("reading a manifest"))?;
            let manifest = Spool::decode_manifest(&signed)?;
            self.compare_set(&manifest, kinds_before, &there, &mut seen)?;
        }
        seen.there.clear();
        self.compare_set(&set.manifest, &kinds, &there, &mut seen)?;
        Ok(seen)
    }

    fn compare_set(
        &self,
        manifest: &Manifest,
        kinds: &[ObjectKind],
        there: &BTreeMap<(ObjectKind, Id), u64>,
        seen: &mut Seen,
    ) -> Result<(), ForwardError> {
        let mut foreign = None;
        self.spool.for_each_object(&self.laptop, manifest, |entry| {
            if kinds.contains(&entry.kind) {
                match there.get(&(entry.kind, entry.id)) {
                    None => seen.missing.push(*entry),
                    Some(length) if *length == entry.length => seen.there.push(*entry),
                    Some(_) => foreign = Some(entry.id),
                }
            }
            Ok(())
        })?;
        foreign.map_or(Ok(()), |id| Err(ForwardError::Foreign { id }))
    }
}
