//! The beginning of a visit: what both sides remember, what was left over, what changed.
//!
//! Place: [`super::Visit`] from `Begin` to the end of the scan.

use std::collections::BTreeMap;
use std::mem;
use std::path::PathBuf;

use berth_radio::Time;
use berth_repository::Id;
use berth_wire::{
    ObjectKind, PROTOCOL, Receipt, ReceiptLevel, Refusal, SetRef, SetSeq, Signed, ToHub, ToLaptop, decode,
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::first::Newest;
use super::links::Links;
use super::log::VisitLog;
use super::marks::Marks;
use super::memory::Memory;
use super::rebuild::Rebuild;
use super::report::Report;
use super::salvage::Salvage;
use super::settle::{Settled, open_catalogue, settle};
use super::sink::Sink;
use super::work::{Frame, Work};
use super::{Opened, Outgoing, Phase, Prepared, SealedSet, Visit, VisitError};
use crate::catalogue::BlockFile;
use crate::chunker::Chunker;
use crate::claims::{Claims, Remedy};
use crate::scan::{Plan, Scan, ScannedRoot};
use crate::{Finding, Source};

impl Visit {
    pub(super) fn greet(&mut self, now: Time, source: Box<dyn Source>) -> Result<Phase, VisitError> {
        self.base.began = Some(now);
        let repository = self.base.repository.id();
        let memory = Memory::read(&*self.base.disk, &self.base.folder, repository)?;
        self.queue.push_back(Outgoing::Control(ToHub::Begin {
            protocol: PROTOCOL,
            repository,
            last: memory.last,
        }));
        Ok(Phase::Greeted(source))
    }

    pub(super) fn welcome(
        &mut self,
        _now: Time,
        source: Box<dyn Source>,
        welcome: ToLaptop,
    ) -> Result<Phase, VisitError> {
        let ToLaptop::Welcome {
            set,
            last,
            repository,
            receipts,
            tails,
            full,
            reclaimed,
            ..
        } = welcome
        else {
            return Ok(Phase::Greeted(source));
        };
        let base = &self.base;
        if repository.is_some_and(|theirs| theirs != base.repository.id()) {
            return Err(VisitError::Refused(Refusal::OtherRepository));
        }
        let (receipts, false_ones): (Vec<_>, Vec<_>) = receipts
            .into_iter()
            .partition(|receipt| base.keys.is_of_hub(receipt));
        let mut findings: Vec<_> = false_ones.iter().take(1).map(|_| Finding::Receipt).collect();
        self.progress.reclaimed_through = upstream_through(&receipts).filter(|_| reclaimed);
        self.progress.receipts = receipts;
        let confirmed = Memory::read(&*base.disk, &base.folder, base.repository.id())?.last;
        findings.extend(confirmed.and_then(|confirmed| is_older(last, confirmed)));
        self.progress.findings = findings;
        let mut claims = Claims::read(&*base.disk, &base.folder)?;
        let Settled {
            mut memory,
            known,
            rebuild,
        } = settle(
            &base.disk,
            &base.folder,
            base.repository.id(),
            last,
            claims.remedy,
        )?;
        self.progress.set = Some(set);
        self.progress.last = memory.last.map(|set| SealedSet {
            set,
            snapshot: memory.snapshot,
            kind: memory.catalogue.map(|catalogue| catalogue.kind()),
        });
        if let Some(full) = full {
            return Err(VisitError::Full(full));
        }
        if claims.remedy == Remedy::SendAll {
            memory.last = last;
            memory.write(&*base.disk, &base.folder, base.repository.id())?;
            claims.forget(last);
            claims.remedy = Remedy::None;
            claims.write(&*base.disk, &base.folder)?;
        }
        let (catalogue_number, catalogue) = open_catalogue(&base.disk, &base.folder, &mut memory)?;
        let salvage = Salvage::new(&base.disk, &base.folder, &tails)?;
        let log = VisitLog::create(base.disk.clone(), &base.folder, set)?;
        let rng = ChaCha20Rng::from_seed(base.options.seed);
        let sink = Sink::new(base.repository.key().clone(), rng, base.stage, known, log, set)?;
        self.progress.rebuilt = rebuild && claims.remedy == Remedy::None && self.progress.findings.is_empty();
        Ok(Phase::Ask(Box::new(Prepared {
            source,
            sink,
            memory,
            set,
            previous: last,
            hub_has_repository: repository.is_some(),
            catalogue_number,
            catalogue,
            rebuild: rebuild.then(|| Rebuild::without(claims.lost.clone())),
            claims,
            salvage,
        })))
    }

    /// One question after the other; then the set is opened. Also tells whether an answer is awaited.
    pub(super) fn ask(&mut self, mut prepared: Box<Prepared>) -> Result<(Phase, bool), VisitError> {
        if let Some(rebuild) = &mut prepared.rebuild {
            if rebuild.is_waiting() {
                return Ok((Phase::Ask(prepared), true));
            }
            if let Some(question) = rebuild.ask() {
                prepared.sink.control(question);
                return Ok((Phase::Ask(prepared), false));
            }
            prepared.rebuild = None;
            prepared.memory = Memory {
                last: prepared.previous,
                runs: prepared.sink.known.keep()?,
                ..Memory::default()
            };
            let base = &self.base;
            prepared
                .memory
                .write(&*base.disk, &base.folder, base.repository.id())?;
            if mem::take(&mut prepared.claims.remedy) != Remedy::None {
                prepared.claims.write(&*base.disk, &base.folder)?;
            }
        }
        if prepared.salvage.is_waiting() {
            return Ok((Phase::Ask(prepared), true));
        }
        if let Some(question) = prepared.salvage.ask(&mut prepared.sink) {
            prepared.sink.control(question);
            return Ok((Phase::Ask(prepared), false));
        }
        self.open(prepared).map(|phase| (phase, false))
    }

    pub(super) fn open(&mut self, mut prepared: Box<Prepared>) -> Result<Phase, VisitError> {
        let base = &self.base;
        prepared.sink.control(ToHub::OpenSet {
            created_at_ns: base.options.wall_clock_ns,
        });
        if !prepared.hub_has_repository {
            for (kind, bytes) in [
                (ObjectKind::Key, base.repository.key_file()),
                (ObjectKind::Config, base.repository.config()),
            ] {
                prepared.sink.object(kind, Id::of(bytes), bytes.to_vec())?;
            }
        }
        for pack in mem::take(&mut prepared.salvage.packs) {
            prepared.sink.salvaged(pack)?;
        }
        let file = BlockFile::create(base.disk.clone(), format!("{}/scan", base.folder))?;
        let plan = Plan::new(&base.options.roots);
        let old = prepared.memory.catalogue;
        let is_whole = old.is_some_and(|old| !old.is_partial);
        let mut scan = Scan::new(
            file,
            plan,
            old.map(|old| old.block),
            is_whole,
            &mut prepared.catalogue,
        )?;
        scan.read_root(&*prepared.source, &base.matcher)?;
        Ok(Phase::Scan(prepared, Box::new(scan), Newest::default()))
    }

    pub(super) fn scan(
        &mut self,
        now: Time,
        mut prepared: Box<Prepared>,
        mut scan: Box<Scan>,
        mut newest: Newest,
    ) -> Result<Phase, VisitError> {
        let root = scan.step(
            &*prepared.source,
            &self.base.matcher,
            &mut prepared.catalogue,
            &mut |changed| newest.offer(&changed),
        )?;
        let Some(root) = root else {
            return Ok(Phase::Scan(prepared, scan, newest));
        };
        self.progress.scanned = true;
        self.progress.files_scanned = scan.counts.files;
        self.progress.bytes_scanned = scan.counts.bytes;
        self.progress.files_changed = scan.counts.files_changed;
        self.progress.bytes_changed = scan.counts.bytes_changed;
        self.marks = Marks::new(now);
        let opened = Opened {
            set: prepared.set,
            previous: prepared.previous,
            parent: prepared.memory.snapshot,
        };
        let old = prepared.memory.catalogue;
        let scan_counts = scan.counts.clone();
        let mut work = Box::new(Work {
            source: prepared.source,
            sink: prepared.sink,
            catalogue: prepared.catalogue,
            catalogue_number: prepared.catalogue_number,
            scan: scan.into_file(),
            chunker: Chunker::new(self.base.repository.key().chunker_seed()),
            links: Links::default(),
            report: Report {
                sockets: scan_counts.sockets,
                ..Report::default()
            },
            first: newest.into_files(scan_counts.bytes_changed),
            done_first: BTreeMap::new(),
            first_left: 0,
            first_size_bytes: 0,
            frames: Vec::new(),
            reading: None,
        });
        match (root, old) {
            (ScannedRoot::Same, Some(catalogue)) => self.close(work, opened, catalogue),
            (ScannedRoot::Changed(block), _) => {
                let records = work.scan.read(block)?;
                work.frames.push(Frame::new(
                    PathBuf::from("/"),
                    Vec::new(),
                    None,
                    records,
                    old.map(|old| old.block),
                ));
                Ok(Phase::Work(work, opened))
            }
            (ScannedRoot::Same, None) => Err(VisitError::Disk(std::io::ErrorKind::InvalidData.into())),
        }
    }
}

/// The newest set that one of these says is upstream.
fn upstream_through(receipts: &[Signed]) -> Option<SetSeq> {
    let told = receipts
        .iter()
        .filter_map(|receipt| decode::<Receipt>(&receipt.body).ok());
    told.filter(|receipt| receipt.level == ReceiptLevel::Upstream)
        .map(|receipt| receipt.set.seq)
        .max()
}

/// A hub never takes a set back: its newest is what it has confirmed, or newer.
fn is_older(last: Option<SetRef>, confirmed: SetRef) -> Option<Finding> {
    match last {
        Some(last) if last == confirmed || last.seq > confirmed.seq => None,
        Some(last) if last.seq == confirmed.seq => Some(Finding::Set { set: last.seq }),
        Some(_) | None => Some(Finding::OldState {
            confirmed: confirmed.seq,
            shown: last.map(|last| last.seq),
        }),
    }
}
