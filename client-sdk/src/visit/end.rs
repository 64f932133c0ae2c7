//! The end of a visit: last objects, signed manifest, receipt; and what a set is described by.
//!
//! Place: [`super::Visit`] once everything is stored.
//! Invariant: before `Commit` leaves, log and catalogue are synced, so that a receipt that is lost on its way is made up
//! for at the next `Welcome`.

use berth_repository::{Id, Snapshot, Timestamp};
use berth_wire::{Manifest, ObjectKind, Receipt, SetKind, SetRef, Signed, ToHub, decode, encode};

use super::contents::Contents;
use super::log::Record;
use super::memory::{CatalogueRef, Memory};
use super::settle::remove_other_catalogues;
use super::work::Work;
use super::{Base, Closing, Opened, Phase, Summary, Visit, VisitError};
use crate::Finding;
use crate::catalogue::remove_if_there;

impl Visit {
    /// Everything is stored: ends packs and index, signs the set and asks for the receipt.
    pub(super) fn close(
        &mut self,
        mut work: Box<Work>,
        opened: Opened,
        mut catalogue: CatalogueRef,
    ) -> Result<Phase, VisitError> {
        work.sink.finish()?;
        let snapshot = self.base.snapshot(&opened, catalogue.tree, SetKind::Complete);
        let nonce = work.sink.nonce();
        let file = snapshot.seal(&work.sink.key, nonce).map_err(VisitError::Seal)?;
        let snapshot = file.id;
        work.sink.object(ObjectKind::Snapshot, file.id, file.bytes)?;
        let manifest = self.base.manifest(
            &work.sink.contents,
            work.report.not_read_count,
            &opened,
            SetKind::Complete,
            0,
            snapshot,
        );
        let signed = self.base.sign(&manifest)?;
        work.catalogue.sync()?;
        catalogue.length = work.catalogue.length();
        work.sink.log.append(&Record::Manifest {
            id: signed.id(),
            snapshot,
            catalogue,
        })?;
        work.sink.log.sync()?;
        let manifest = signed.id();
        work.sink.control(ToHub::Commit { manifest: signed });
        Ok(Phase::Close(Box::new(Closing {
            work,
            opened,
            catalogue,
            snapshot,
            manifest,
        })))
    }

    /// The hub has signed for the set: from here on its chunks are known and its catalogue counts.
    pub(super) fn signed(&mut self, closing: Closing, receipt: Signed) -> Result<Phase, VisitError> {
        let Closing {
            work,
            opened,
            catalogue,
            snapshot,
            manifest,
        } = closing;
        let base = &self.base;
        let set = SetRef {
            seq: opened.set,
            manifest,
        };
        let told: Option<Receipt> = decode(&receipt.body).ok();
        let fits = told.is_some_and(|told| {
            told.set == set && told.hub == base.options.hub && told.laptop == base.options.laptop
        });
        if !fits || !base.keys.is_of_hub(&receipt) {
            self.progress.findings.push(Finding::Receipt);
            return Err(VisitError::Protocol {
                what: "its receipt is not for this set",
            });
        }
        let mut sink = work.sink;
        let memory = Memory {
            last: Some(set),
            snapshot: Some(snapshot),
            catalogue: Some(catalogue),
            runs: sink.known.keep()?,
        };
        memory.write(&*base.disk, &base.folder, base.repository.id())?;
        sink.log.remove_all()?;
        remove_other_catalogues(&base.disk, &base.folder, catalogue.number)?;
        remove_if_there(&*base.disk, &format!("{}/scan", base.folder))?;
        let report = work.report;
        self.marks.acknowledged = report.bytes_stored;
        self.marks.restorable = report.bytes_stored;
        self.marks.request_done = true;
        Ok(Phase::Done(Box::new(Summary {
            set: set.seq,
            kind: SetKind::Complete,
            snapshot,
            files: self.progress.files_scanned,
            bytes_scanned: self.progress.bytes_scanned,
            bytes_sent: self.progress.bytes_sent,
            bytes_new: sink.bytes_new,
            content_files_read: report.content_files_read,
            sockets: report.sockets,
            not_read: report.not_read,
            not_read_count: report.not_read_count,
            receipt,
        })))
    }
}

impl Base {
    pub(super) fn snapshot(&self, opened: &Opened, tree: Id, kind: SetKind) -> Snapshot {
        let options = &self.options;
        let kind = match kind {
            SetKind::Complete => "complete",
            SetKind::Partial => "partial",
        };
        Snapshot {
            time: Timestamp::from_unix_ns(options.wall_clock_ns),
            parent: opened.parent,
            tree,
            paths: options
                .roots
                .iter()
                .map(|root| root.to_string_lossy().into_owned())
                .collect(),
            hostname: options.laptop_name.clone(),
            username: options.user_name.clone(),
            uid: 0,
            gid: 0,
            excludes: options.rules.patterns.clone(),
            tags: vec![
                kind.to_owned(),
                format!("hub:{}", options.hub_name),
                format!("set:{}", opened.set),
            ],
            original: None,
            program_version: concat!("berth ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    pub(super) fn manifest(
        &self,
        contents: &Contents,
        not_read: u64,
        opened: &Opened,
        kind: SetKind,
        mark: u32,
        snapshot: Id,
    ) -> Manifest {
        Manifest {
            format: 1,
            laptop: self.options.laptop,
            hub: self.options.hub,
            repository: self.repository.id(),
            set: opened.set,
            kind,
            mark,
            previous: opened.previous,
            snapshot,
            created_at_ns: self.options.wall_clock_ns,
            pages: contents.pages.clone(),
            tail: contents.tail.clone(),
            objects: contents.objects,
            bytes: contents.bytes,
            not_read,
        }
    }

    pub(super) fn sign(&self, manifest: &Manifest) -> Result<Signed, VisitError> {
        let body = encode(manifest).map_err(|_| VisitError::Protocol {
            what: "the set has more objects than a manifest can list",
        })?;
        let signature = self.keys.sign_manifest(&body).to_vec();
        Ok(Signed { body, signature })
    }
}
