//! An upstream in memory, which may fail at every write, and which remembers the order of what came.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::io::{self, Read};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use berth_bridge::{Lock, Upstream, UpstreamError};
use berth_repository::Id;
use berth_wire::ObjectKind;
use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use super::judge::Objects;

/// One repository. Clones are the same one.
#[derive(Debug, Clone)]
pub struct MemoryUpstream(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    objects: BTreeMap<(ObjectKind, Id), Bytes>,
    order: Vec<(ObjectKind, Id)>,
    fail_percent: u64,
    rng: ChaCha8Rng,
}

impl MemoryUpstream {
    /// An empty one. Of its calls `fail_percent` fail, drawn from `seed`.
    #[must_use]
    pub fn new(seed: u64, fail_percent: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            objects: BTreeMap::new(),
            order: Vec::new(),
            fail_percent,
            rng: ChaCha8Rng::seed_from_u64(seed),
        })))
    }

    /// From now on nothing fails.
    pub fn heal(&self) {
        self.lock().fail_percent = 0;
    }

    /// Ids of the snapshots in the order in which they were published.
    #[must_use]
    pub fn snapshots(&self) -> Vec<Id> {
        let state = self.lock();
        let of_kind = state
            .order
            .iter()
            .filter(|(kind, _)| *kind == ObjectKind::Snapshot);
        of_kind.map(|(_, id)| *id).collect()
    }

    /// Everything, as one who restores reads it.
    #[must_use]
    pub fn objects(&self) -> Objects {
        let state = self.lock();
        Objects::of_wire(
            state
                .objects
                .iter()
                .map(|((kind, id), bytes)| (*kind, *id, bytes.clone())),
        )
    }

    /// What was there in the moment in which a snapshot was published.
    #[must_use]
    pub fn objects_when(&self, snapshot: &Id) -> Objects {
        let state = self.lock();
        let mut there = BTreeSet::new();
        for one in &state.order {
            there.insert(*one);
            if *one == (ObjectKind::Snapshot, *snapshot) {
                break;
            }
        }
        let objects = state.objects.iter().filter(|(name, _)| there.contains(name));
        Objects::of_wire(objects.map(|((kind, id), bytes)| (*kind, *id, bytes.clone())))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn may_fail(&mut self, doing: &'static str) -> Result<(), UpstreamError> {
        if self.rng.next_u64() % 100 < self.fail_percent {
            return Err(UpstreamError {
                doing,
                source: io::Error::other("the upstream is away (injected)"),
            });
        }
        Ok(())
    }
}

impl Upstream for MemoryUpstream {
    fn prepare(&mut self) -> Result<(), UpstreamError> {
        self.lock().may_fail("preparing")
    }

    fn config(&mut self) -> Result<Option<Vec<u8>>, UpstreamError> {
        let mut state = self.lock();
        state.may_fail("reading the config")?;
        let mut configs = state
            .objects
            .iter()
            .filter(|((kind, _), _)| *kind == ObjectKind::Config);
        Ok(configs.next().map(|(_, bytes)| bytes.to_vec()))
    }

    fn list(&mut self, kind: ObjectKind, each: &mut dyn FnMut(Id, u64)) -> Result<(), UpstreamError> {
        let mut state = self.lock();
        state.may_fail("listing")?;
        for ((_, id), bytes) in state.objects.iter().filter(|((one, _), _)| *one == kind) {
            each(*id, bytes.len() as u64);
        }
        Ok(())
    }

    fn locks(&mut self) -> Result<Vec<Lock>, UpstreamError> {
        self.lock().may_fail("listing locks")?;
        Ok(Vec::new())
    }

    fn write(
        &mut self,
        kind: ObjectKind,
        id: &Id,
        length: u64,
        bytes: &mut dyn Read,
    ) -> Result<(), UpstreamError> {
        let mut content = Vec::new();
        bytes
            .read_to_end(&mut content)
            .map_err(UpstreamError::doing("writing"))?;
        let mut guard = self.lock();
        let state = &mut *guard;
        state.may_fail("writing")?;
        assert_eq!(
            content.len() as u64,
            length,
            "{kind:?} {id} is shorter than announced"
        );
        if let Entry::Vacant(free) = state.objects.entry((kind, *id)) {
            free.insert(content.into());
            state.order.push((kind, *id));
        }
        // It is there, but nobody hears of it.
        state.may_fail("finishing a write")
    }

    fn read(
        &mut self,
        kind: ObjectKind,
        id: &Id,
        range: Option<Range<u64>>,
    ) -> Result<Option<Bytes>, UpstreamError> {
        let mut state = self.lock();
        state.may_fail("reading")?;
        let whole = state.objects.get(&(kind, *id));
        Ok(whole.map(|whole| {
            let Range { start, end } = range.unwrap_or(0..u64::MAX);
            let within = |at: u64| at.min(whole.len() as u64) as usize;
            whole.slice(within(start)..within(end))
        }))
    }

    fn digest(&mut self, kind: ObjectKind, id: &Id) -> Result<Option<Id>, UpstreamError> {
        let mut state = self.lock();
        state.may_fail("reading back")?;
        Ok(state.objects.get(&(kind, *id)).map(|bytes| Id::of(bytes)))
    }
}
