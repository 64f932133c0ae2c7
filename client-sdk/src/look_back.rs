//! After a complete set: reads back and opens a little of what the hub has confirmed.
//!
//! Place: once [`crate::Visit`] is done and before the goodbye: [`LookBack::next`] / [`LookBack::receive`] -> reads ->
//! [`Finding`]s, and [`Claims`] for the next visit, which sends again what was lost.
//! What is looked at can't be foreseen by the hub, nor answered with something else: sets are named by the hashes of
//! manifests that the laptop has signed, index files by their hashes in these, chunks by their ids in these index files.
//! Invariant: a link that is cut, a hub that is slow or refuses: the look ends, and the visit has ended well all the same.

mod draw;
mod walk;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use berth_disk::SharedDisk;
use berth_radio::Time;
use berth_repository::Id;
use berth_wire::{Manifest, ObjectKind, SetRef, SetSeq, ToLaptop, decode};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

use self::draw::Draw;
use self::walk::Walk;
use crate::claims::{Claims, Remedy};
use crate::visit::Memory;
use crate::{Finding, Keys, LaptopRepository, Progress, ReadingStep, VisitError};

/// Objects that are drawn in a visit: the first of the newest sets, the others of all.
const DRAWS: usize = 4;

/// The same once the hub has lost something: then more is likely to be lost.
const DRAWS_WARY: usize = 16;

/// Sets of which the first draw is.
const NEWEST_SETS: usize = 8;

/// Bytes that are asked for in a visit, manifests and their pages not counted (some KB for each draw): room for two of the
/// largest index files (16,384 chunks, 0.8 MB) with their chunks. Where sets are small it is a tenth of that.
const BYTES_MAX: u64 = 3 * 1024 * 1024;

/// A look that takes longer than this is given up: a good one takes five round trips.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// Complete visits in a row in which the hub showed nothing, until that is told.
pub(crate) const UNSEEN_MAX: u64 = 8;

/// The machine of one look. Dropping it is a cut; [`LookBack::end`] says what was found.
pub struct LookBack {
    disk: SharedDisk,
    folder: String,
    repository: Arc<LaptopRepository>,
    keys: Box<dyn Keys>,
    rng: ChaCha20Rng,
    /// Packs of sets up to this one may be upstream only.
    reclaimed_through: Option<SetSeq>,
    until: Time,
    claims: Claims,
    stage: Stage,
    /// Draws whose questions are on their way, in order.
    asked: VecDeque<usize>,
    /// Objects and chunks that were there and right.
    seen: u32,
    findings: Vec<Finding>,
}

enum Stage {
    New,
    Walk(Walk),
    Draw(Vec<Draw>),
    Over,
}

impl LookBack {
    /// `disk`, `repository` and `keys` are those of the visit, `hub` is the hub's Ed25519 key; `seed` is fresh and random.
    /// Reads nothing yet.
    #[must_use]
    pub fn new(
        disk: SharedDisk,
        hub: [u8; 32],
        repository: Arc<LaptopRepository>,
        keys: Box<dyn Keys>,
        seed: [u8; 32],
    ) -> Self {
        Self {
            disk,
            folder: format!("hubs/{}", Id::new(hub)),
            repository,
            keys,
            rng: ChaCha20Rng::from_seed(seed),
            reclaimed_through: None,
            until: Time::ZERO,
            claims: Claims::default(),
            stage: Stage::New,
            asked: VecDeque::new(),
            seen: 0,
            findings: Vec::new(),
        }
    }

    /// Begins, once the visit of this progress is done.
    ///
    /// # Errors
    /// Those of the state folder: then there is nothing to look at.
    pub fn begin(&mut self, now: Time, progress: &Progress) -> io::Result<()> {
        self.until = now + LOOK_MAX;
        self.reclaimed_through = progress.reclaimed_through;
        self.claims = Claims::read(&*self.disk, &self.folder)?;
        let memory = Memory::read(&*self.disk, &self.folder, self.repository.id())?;
        self.claims.unseen += 1;
        if self.claims.unseen > UNSEEN_MAX {
            let visits = self.claims.unseen;
            self.findings.push(Finding::Unseen { visits });
        }
        self.stage = memory
            .last
            .map_or(Stage::Over, |last| Stage::Walk(Walk::new(last, &mut self.claims)));
        Ok(())
    }

    /// Says what is to be done next; [`ReadingStep::Done`]: call [`LookBack::end`].
    pub fn next(&mut self, now: Time) -> ReadingStep {
        if now >= self.until {
            self.stage = Stage::Over;
        }
        if let Stage::Walk(walk) = &mut self.stage {
            match walk.question() {
                Some(question) => return ReadingStep::Send(question),
                None if walk.is_waiting() => return ReadingStep::Wait,
                None => self.stage = Stage::Draw(self.draws()),
            }
        }
        let Stage::Draw(draws) = &mut self.stage else {
            return ReadingStep::Done;
        };
        let asked = &self.asked;
        let next = (0..draws.len())
            .filter(|number| !asked.contains(number))
            .find_map(|number| Some((number, draw::question(draws, number)?)));
        match next {
            Some((number, question)) => {
                self.asked.push_back(number);
                ReadingStep::Send(question)
            }
            None if self.asked.is_empty() => ReadingStep::Done,
            None => ReadingStep::Wait,
        }
    }

    /// Takes a message of the hub. Keep-alives may be given or not.
    ///
    /// # Errors
    /// [`VisitError::Refused`], [`VisitError::Protocol`]: the look is over.
    pub fn receive(&mut self, message: ToLaptop) -> Result<(), VisitError> {
        match message {
            ToLaptop::KeepAlive | ToLaptop::Goodbye => return Ok(()),
            ToLaptop::Refused { why } => return Err(VisitError::Refused(why)),
            _ => {}
        }
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Walk(mut walk) => {
                let set = walk.answered().ok_or_else(unasked)?;
                match self.manifest(set, message)? {
                    Some(manifest) => {
                        walk.goes_on(&manifest, &mut self.claims);
                        self.stage = Stage::Walk(walk);
                    }
                    None => self.lose_set(set.seq),
                }
            }
            Stage::Draw(mut draws) => {
                let number = self.asked.pop_front().ok_or_else(unasked)?;
                let draw = draws.get_mut(number).ok_or_else(unasked)?;
                if self.answered(draw, message)? {
                    self.stage = Stage::Draw(draws);
                }
            }
            Stage::New | Stage::Over => {}
        }
        Ok(())
    }

    /// What was found. What the next visit must know of it is durable when this returns; where the state folder fails, a
    /// later visit finds it again.
    #[must_use]
    pub fn end(mut self) -> Vec<Finding> {
        if !matches!(self.stage, Stage::New) {
            if self.seen > 0 {
                self.claims.unseen = 0;
            }
            let _ = self.claims.write(&*self.disk, &self.folder);
        }
        self.findings
    }

    fn draws(&mut self) -> Vec<Draw> {
        let newest = self.claims.sets.len().saturating_sub(NEWEST_SETS);
        let mut draws = Vec::new();
        let count = if self.claims.lost.is_empty() {
            DRAWS
        } else {
            DRAWS_WARY
        };
        for from in (0..count).map(|number| if number == 0 { newest } else { 0 }) {
            let weight = |claims: &Claims| claims.sets.range(from..).map(|claim| claim.objects).sum::<u64>();
            let mut left = self.below(weight(&self.claims));
            let claim = self.claims.sets.range(from..).find(|claim| {
                let is_here = left < claim.objects;
                left = left.saturating_sub(claim.objects);
                is_here
            });
            draws.extend(claim.map(|claim| Draw::new(claim.set)));
        }
        draws
    }

    /// A random number below `end`, 0 if that is 0.
    fn below(&mut self, end: u64) -> u64 {
        self.rng.next_u64().checked_rem(end).unwrap_or(0)
    }

    /// The manifest in the hub's answer, if it is the one of that set, and this laptop's.
    fn manifest(&self, set: SetRef, message: ToLaptop) -> Result<Option<Manifest>, VisitError> {
        match message {
            ToLaptop::ManifestOf { manifest }
                if manifest.id() == set.manifest
                    && self.keys.sign_manifest(&manifest.body)[..] == manifest.signature[..] =>
            {
                Ok(decode(&manifest.body).ok())
            }
            ToLaptop::ManifestOf { .. } | ToLaptop::Missing => Ok(None),
            _ => Err(unasked()),
        }
    }

    /// What was in it can't be told any more: nothing at this hub counts as known.
    fn lose_set(&mut self, set: SetSeq) {
        self.findings.push(Finding::Set { set });
        self.claims.remedy = Remedy::SendAll;
        let newest = self.claims.sets.back().map(|claim| claim.set);
        self.claims.forget(newest);
    }

    /// Its chunks are sent again, if it is one that has any or says where they are.
    fn lose(&mut self, kind: ObjectKind, id: Id, finding: Finding) {
        if !self.claims.lost.insert(id) {
            return;
        }
        self.findings.push(finding);
        if matches!(kind, ObjectKind::Pack | ObjectKind::Index) && self.claims.remedy == Remedy::None {
            self.claims.remedy = Remedy::Rebuild;
        }
    }
}

const fn unasked() -> VisitError {
    VisitError::Protocol {
        what: "an answer without a question",
    }
}
