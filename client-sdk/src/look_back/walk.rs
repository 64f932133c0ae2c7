//! From the newest set back to the oldest: each manifest names the one before.

use berth_wire::{Manifest, SetRef, ToHub};

use crate::claims::{Claim, Claims};

/// Manifests that are asked for in a visit. Most visits ask for one: that of the set just made.
const SETS_MAX: u32 = 8;

/// Adds to [`Claims`] the sets since the last visit, then those before its oldest.
pub(super) struct Walk {
    at: Option<SetRef>,
    /// Newest first; none: the walk is below the oldest claim.
    newer: Option<Vec<Claim>>,
    left: u32,
    is_waiting: bool,
}

impl Walk {
    pub(super) fn new(last: SetRef, claims: &mut Claims) -> Self {
        let is_known = claims.sets.back().is_some_and(|claim| claim.set == last);
        let mut walk = Self {
            at: Some(last),
            newer: Some(Vec::new()),
            left: SETS_MAX,
            is_waiting: false,
        };
        if is_known || last.seq.0 <= claims.floor {
            (walk.at, walk.newer) = (claims.older, None);
        }
        walk
    }

    pub(super) fn question(&mut self) -> Option<ToHub> {
        let set = self.at.filter(|_| !self.is_waiting && self.left > 0)?.seq;
        self.is_waiting = true;
        Some(ToHub::FetchManifest { set })
    }

    pub(super) const fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// The set whose manifest has come.
    pub(super) fn answered(&mut self) -> Option<SetRef> {
        self.at.filter(|_| std::mem::take(&mut self.is_waiting))
    }

    /// The manifest of the set that was asked for is this.
    pub(super) fn goes_on(&mut self, manifest: &Manifest, claims: &mut Claims) {
        let Some(set) = self.at else { return };
        self.left = self.left.saturating_sub(1);
        let claim = Claim {
            set,
            objects: manifest.objects,
        };
        let is_before = |before: &SetRef| before.seq < set.seq && before.seq.0 > claims.floor;
        let before = manifest.previous.filter(is_before);
        let Some(newer) = &mut self.newer else {
            claims.sets.push_front(claim);
            (claims.older, self.at) = (before, before);
            return;
        };
        newer.push(claim);
        let newest = claims.sets.back().map(|claim| claim.set);
        // Goes on to what is known; where the hub's sets are others, or there are too many, to what may be known later.
        let is_beside = newest.is_none_or(|newest| before.is_none_or(|before| before.seq <= newest.seq));
        if before != newest && (is_beside || self.left == 0) {
            claims.sets.clear();
            claims.older = before;
        } else if before != newest {
            self.at = before;
            return;
        }
        claims.sets.extend(newer.drain(..).rev());
        (self.newer, self.at) = (None, claims.older);
    }
}
