//! How much room laptops have: what the disk, the spool's bound and a laptop's quota leave.
//!
//! Place: asked by visits, and by [`Spool::make_room`]; what is used is measured when a laptop's part of the spool was
//! put right or changed, and counted while bytes come.
//! Invariant: counted are objects, visits under way and tails: what the journal says of sealed sets less what was
//! reclaimed of them, and the sizes of the other files. Manifests, pages and the journal itself are not: they are small.

use std::collections::BTreeMap;

use berth_wire::Full;

use crate::names::Folders;
use crate::record::{Forward, SetRecord};
use crate::{LaptopId, ROOM_SIZE_BYTES_MIN, Spool, StoreError};

/// What laptops may fill. The default: all of the disk but [`RESERVE_SIZE_BYTES`](crate::RESERVE_SIZE_BYTES).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes of all laptops together. What sealing a cut visit writes anew may go beyond it for a time.
    pub spool_bytes_max: Option<u64>,
    /// Bytes of each laptop, its quota. The same holds.
    pub laptop_bytes_max: Option<u64>,
}

/// Limits, and what is used of them.
#[derive(Debug, Default)]
pub(crate) struct Room {
    limits: Limits,
    upstream_since_ns: Option<i64>,
    used_bytes: BTreeMap<LaptopId, u64>,
}

/// Bytes that some number of bytes more would be too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Excess {
    /// For the disk or the bound of the spool: whoever's bytes go.
    pub(crate) of_all: u64,
    /// For the quota: only this laptop's bytes help.
    pub(crate) of_laptop: u64,
}

impl Spool {
    /// Holds from now on; what is too much already is reclaimed when room is next asked for.
    pub fn set_limits(&self, limits: Limits) {
        self.room().limits = limits;
    }

    /// Since when the upstream is the one that it is, by the hub's wall clock, nanoseconds since 1970; `None`, until this
    /// is called too: there is none. What only another one has confirmed is never removed.
    pub fn set_upstream_since(&self, since_ns: Option<i64>) {
        self.room().upstream_since_ns = since_ns;
    }

    pub(crate) fn upstream_since_ns(&self) -> Option<i64> {
        self.room().upstream_since_ns
    }

    /// What the hub waits for, if it takes no set of this laptop now.
    ///
    /// # Errors
    /// [`StoreError::Disk`], [`StoreError::Journal`].
    pub fn full(&self, laptop: &LaptopId) -> Result<Option<Full>, StoreError> {
        let excess = self.excess(laptop, ROOM_SIZE_BYTES_MIN)?;
        let has_room = excess.of_all == 0 && excess.of_laptop == 0;
        if has_room || self.may_make_room(excess, laptop)? {
            return Ok(None);
        }
        self.why_full(laptop).map(Some)
    }

    /// What has to go upstream before there is room.
    pub(crate) fn why_full(&self, laptop: &LaptopId) -> Result<Full, StoreError> {
        let is_quota = self.excess(laptop, ROOM_SIZE_BYTES_MIN)?.of_all == 0;
        let mut full = Full {
            is_quota,
            waiting_bytes: 0,
            waiting_since_ns: None,
            has_upstream: self.upstream_since_ns().is_some(),
        };
        for one in self.laptops()? {
            if is_quota && one != *laptop {
                continue;
            }
            for record in self.sets(&one)? {
                if let Some(sealed) = record.sealed()
                    && !matches!(sealed.forward, Forward::Done { .. })
                {
                    full.waiting_bytes += sealed.bytes;
                    let since_ns = full.waiting_since_ns.unwrap_or(i64::MAX);
                    full.waiting_since_ns = Some(since_ns.min(sealed.sealed_at_ns));
                }
            }
        }
        Ok(full)
    }

    /// Bytes that the laptops' objects take up in the spool.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.room().used_bytes.values().sum()
    }

    /// The most that a laptop can send now, in bytes, unless room is made.
    ///
    /// # Errors
    /// [`StoreError::Disk`].
    pub fn room_bytes(&self, laptop: &LaptopId) -> Result<u64, StoreError> {
        let free_bytes = self.free_bytes()?.saturating_sub(self.reserve_bytes);
        let room = self.room();
        let Limits {
            spool_bytes_max,
            laptop_bytes_max,
        } = room.limits;
        let left = |max: Option<u64>, used: u64| max.map_or(u64::MAX, |max| max.saturating_sub(used));
        Ok(free_bytes
            .min(left(spool_bytes_max, room.of_all()))
            .min(left(laptop_bytes_max, room.of(laptop))))
    }

    /// How many bytes have to go before `laptop` has room for `wanted_bytes`.
    pub(crate) fn excess(&self, laptop: &LaptopId, wanted_bytes: u64) -> Result<Excess, StoreError> {
        let on_disk = (self.reserve_bytes.saturating_add(wanted_bytes)).saturating_sub(self.free_bytes()?);
        let room = self.room();
        let over = |max: Option<u64>, used: u64| {
            max.map_or(0, |max| used.saturating_add(wanted_bytes).saturating_sub(max))
        };
        Ok(Excess {
            of_all: on_disk.max(over(room.limits.spool_bytes_max, room.of_all())),
            of_laptop: over(room.limits.laptop_bytes_max, room.of(laptop)),
        })
    }

    fn free_bytes(&self) -> Result<u64, StoreError> {
        self.disk
            .free_bytes()
            .map_err(StoreError::disk("asking for free room"))
    }

    /// Looks how much a laptop uses. Its visit must not go on meanwhile.
    pub(crate) fn measure(&self, laptop: &LaptopId) -> Result<(), StoreError> {
        let _not_reclaimed = self.nothing_is_reclaimed();
        let records = self.sets(laptop)?;
        let mut used_bytes: u64 = records.iter().map(bytes_here).sum();
        let folders = Folders::of(laptop);
        let visits = self.numbers(&folders.incoming_all())?.into_iter();
        let visits = visits.map(|set| folders.incoming(set));
        for folder in visits.chain([folders.tails()]) {
            for name in self.list(&folder)? {
                used_bytes += self.len(&format!("{folder}/{name}"))?.unwrap_or(0);
            }
        }
        self.room().used_bytes.insert(*laptop, used_bytes);
        Ok(())
    }

    /// Bytes of a visit have come.
    pub(crate) fn count_come(&self, laptop: &LaptopId, bytes: u64) {
        *self.room().used_bytes.entry(*laptop).or_default() += bytes;
    }

    /// Bytes were reclaimed.
    pub(crate) fn count_gone(&self, laptop: &LaptopId, bytes: u64) {
        let mut room = self.room();
        let used_bytes = room.used_bytes.entry(*laptop).or_default();
        *used_bytes = used_bytes.saturating_sub(bytes);
    }
}

impl Room {
    fn of_all(&self) -> u64 {
        self.used_bytes.values().sum()
    }

    fn of(&self, laptop: &LaptopId) -> u64 {
        self.used_bytes.get(laptop).copied().unwrap_or(0)
    }
}

/// Bytes of a sealed set that are in the spool.
fn bytes_here(record: &SetRecord) -> u64 {
    let Some(sealed) = record.sealed() else { return 0 };
    match &sealed.forward {
        Forward::Done { reclaimed, .. } => sealed.bytes.saturating_sub(reclaimed.bytes),
        Forward::Waiting | Forward::Started { .. } => sealed.bytes,
    }
}
