//! From chunks and trees to uploads: which are new, which pack they go into, what the index and manifest list.
//!
//! Place: archiver -> [`Sink::store`] -> sealing -> packs -> queue of [`Outgoing`] for the driver.
//! Invariant: what is queued is in the order in which it must reach the hub; every chunk in the queue is in the visit
//! log; every pack but the open ones is in an index, or in the list of those that the next index has.

use std::collections::VecDeque;

use berth_repository::{
    BlobKind, Id, IndexFile, IndexPack, MasterKey, Nonce, PackBuilder, PackError, SealedBlob,
};
use berth_wire::{DATA_SIZE_BYTES_MAX, ObjectKind, PACK_BLOBS_MAX, SetSeq, ToHub, UploadId};
use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::RngCore;

use super::contents::Contents;
use super::log::{Record, VisitLog};
use super::salvage::SalvagedPack;
use super::stage::{Job, SealStage, Sealers};
use super::{Outgoing, VisitError};
use crate::known::Known;

/// A pack is closed at this size: what restic writes, and few enough for a big repository.
const PACK_SIZE_BYTES: u32 = 16 * 1024 * 1024;

/// A pack has at least this many chunks before their number closes it.
const PACK_BLOBS_MIN: u64 = 512;

/// An index has at least this many blobs, but for the last of a set.
const INDEX_BLOBS_MIN: u64 = 1024;

/// At most this many: about 3 MB of JSON.
const INDEX_BLOBS_MAX: usize = 16 * 1024;

/// Blobs without an index at most (8 MB of memory). Indexes are sent together with a checkpoint: without one, a cut would
/// make them worthless.
const UNLISTED_BLOBS_MAX: u64 = 128 * 1024;

/// The header of an open pack and the list of packs without an index go with every checkpoint. They are kept below this
/// share of what the visit has sent, so that checkpoints at growing distances cost a small constant share.
const OPEN_SHARE: u64 = 8;

/// A pack whose bytes are being sent.
pub(super) struct OpenUpload {
    pub(super) upload: UploadId,
    pub(super) builder: PackBuilder,
}

/// See the module.
pub(super) struct Sink {
    pub(super) key: MasterKey,
    rng: ChaCha20Rng,
    sealers: Sealers,
    pub(super) known: Known,
    pub(super) log: VisitLog,
    pub(super) queue: VecDeque<Outgoing>,
    set: SetSeq,
    next_upload: u32,
    pub(super) data: Option<OpenUpload>,
    pub(super) trees: Option<OpenUpload>,
    /// Closed packs that no index lists yet.
    pub(super) unlisted: Vec<IndexPack>,
    pub(super) unlisted_blobs: u64,
    /// Blobs of this visit in packs, open or closed.
    blobs: u64,
    pub(super) contents: Contents,
    /// Raw bytes of the chunks that were not known.
    pub(super) bytes_new: u64,
    /// Bytes queued for the link.
    pub(super) bytes_queued: u64,
}

impl Sink {
    pub(super) fn new(
        key: MasterKey,
        rng: ChaCha20Rng,
        stage: SealStage,
        known: Known,
        log: VisitLog,
        set: SetSeq,
    ) -> Result<Self, VisitError> {
        Ok(Self {
            sealers: Sealers::start(stage, &key)?,
            key,
            rng,
            known,
            log,
            queue: VecDeque::new(),
            set,
            next_upload: 0,
            data: None,
            trees: None,
            unlisted: Vec::new(),
            unlisted_blobs: 0,
            blobs: 0,
            contents: Contents::default(),
            bytes_new: 0,
            bytes_queued: 0,
        })
    }

    pub(super) fn nonce(&mut self) -> Nonce {
        let mut nonce = [0; 16];
        self.rng.fill_bytes(&mut nonce);
        nonce
    }

    /// Sees to it that the hub will have this chunk or tree, and names it.
    pub(super) fn store(&mut self, kind: BlobKind, plain: &[u8]) -> Result<Id, VisitError> {
        let id = Id::of(plain);
        if self.known.contains(kind, id)? {
            return Ok(id);
        }
        self.known.insert(kind, id)?;
        self.bytes_new += plain.len() as u64;
        let nonce = self.nonce();
        self.sealers.submit(Job {
            kind,
            id,
            plain: plain.to_vec(),
            nonce,
        })?;
        self.fill(false)?;
        Ok(id)
    }

    /// Puts what is sealed into packs; with `all`, waits until nothing is being sealed.
    pub(super) fn fill(&mut self, all: bool) -> Result<(), VisitError> {
        while let Some(blob) = self.sealers.take(all)? {
            self.pack(blob)?;
        }
        Ok(())
    }

    fn pack(&mut self, blob: SealedBlob) -> Result<(), VisitError> {
        let kind = blob.kind;
        loop {
            let mut open = match self.open_slot(kind).take() {
                Some(open) => open,
                None => {
                    let upload = self.next_upload();
                    self.control(ToHub::Open {
                        upload,
                        kind: ObjectKind::Pack,
                        provisional: false,
                    });
                    OpenUpload {
                        upload,
                        builder: PackBuilder::new(),
                    }
                }
            };
            match open.builder.add(&blob) {
                Ok(_) => {
                    self.packed(&open, blob.bytes)?;
                    let full = open.builder.length() >= PACK_SIZE_BYTES
                        || open.builder.blobs().len() as u64 >= self.pack_blobs();
                    *self.open_slot(kind) = Some(open);
                    return if full { self.close_pack(kind) } else { Ok(()) };
                }
                Err(PackError::Full) if !open.builder.is_empty() => {
                    *self.open_slot(kind) = Some(open);
                    self.close_pack(kind)?;
                }
                Err(error) => {
                    return Err(VisitError::Folder {
                        path: "/".into(),
                        error,
                    });
                }
            }
        }
    }

    fn packed(&mut self, open: &OpenUpload, bytes: Vec<u8>) -> Result<(), VisitError> {
        self.blobs += 1;
        if let Some(blob) = open.builder.blobs().last() {
            self.log.append(&Record::Chunk {
                upload: open.upload,
                blob: *blob,
                digest: open.builder.prefix_digest(),
            })?;
        }
        self.data_bytes(open.upload, bytes);
        Ok(())
    }

    fn open_slot(&mut self, kind: BlobKind) -> &mut Option<OpenUpload> {
        match kind {
            BlobKind::Data => &mut self.data,
            BlobKind::Tree => &mut self.trees,
        }
    }

    fn pack_blobs(&self) -> u64 {
        (self.blobs / OPEN_SHARE).clamp(PACK_BLOBS_MIN, PACK_BLOBS_MAX as u64)
    }

    fn close_pack(&mut self, kind: BlobKind) -> Result<(), VisitError> {
        let Some(open) = self.open_slot(kind).take() else {
            return Ok(());
        };
        let nonce = self.nonce();
        let (closed, blobs) = open.builder.close(&self.key, nonce);
        let length = blobs
            .last()
            .map_or(0, |last| u64::from(last.offset) + u64::from(last.length))
            + closed.header.len() as u64;
        self.log.append(&Record::Closed {
            upload: open.upload,
            id: closed.id,
            length,
        })?;
        self.data_bytes(open.upload, closed.header);
        self.control(ToHub::Close {
            upload: open.upload,
            id: closed.id,
            length,
        });
        self.list(closed.id, length, blobs)?;
        if self.unlisted_blobs >= UNLISTED_BLOBS_MAX {
            self.send_index()?;
        }
        Ok(())
    }

    /// A whole pack that the hub has or gets: it belongs to the set and to the next index.
    pub(super) fn list(
        &mut self,
        id: Id,
        length: u64,
        blobs: Vec<berth_repository::PackBlob>,
    ) -> Result<(), VisitError> {
        self.unlisted_blobs += blobs.len() as u64;
        self.unlisted.push(IndexPack { id, blobs });
        self.add_entry(ObjectKind::Pack, id, length)
    }

    /// A pack that the hub made of what a cut visit left: its chunks are known from here on.
    pub(super) fn salvaged(&mut self, pack: SalvagedPack) -> Result<(), VisitError> {
        for blob in &pack.blobs {
            self.known.insert(blob.kind, blob.id)?;
            self.log.append(&Record::Salvaged {
                kind: blob.kind,
                id: blob.id,
            })?;
        }
        self.list(pack.id, pack.length, pack.blobs)
    }

    /// So many closed packs are without an index that the next checkpoint should have one sent before it.
    pub(super) fn index_is_due(&self) -> bool {
        self.unlisted_blobs >= (self.blobs / OPEN_SHARE).clamp(INDEX_BLOBS_MIN, INDEX_BLOBS_MAX as u64)
    }

    /// Sends what indexes are needed to list all closed packs.
    pub(super) fn send_index(&mut self) -> Result<(), VisitError> {
        let mut left = std::mem::take(&mut self.unlisted).into_iter().peekable();
        self.unlisted_blobs = 0;
        while let Some(first) = left.next() {
            let mut blobs = first.blobs.len();
            let mut packs = vec![first];
            while let Some(next) = left.next_if(|next| blobs + next.blobs.len() <= INDEX_BLOBS_MAX) {
                blobs += next.blobs.len();
                packs.push(next);
            }
            let index = IndexFile {
                packs,
                ..IndexFile::default()
            };
            let nonce = self.nonce();
            let file = index.seal(&self.key, nonce).map_err(VisitError::Seal)?;
            self.object(ObjectKind::Index, file.id, file.bytes)?;
        }
        Ok(())
    }

    /// Ends the packs and sends an index of all that none lists yet.
    pub(super) fn finish(&mut self) -> Result<(), VisitError> {
        self.fill(true)?;
        self.close_pack(BlobKind::Data)?;
        self.close_pack(BlobKind::Tree)?;
        self.send_index()
    }

    /// Sends a whole object that belongs to the set.
    pub(super) fn object(&mut self, kind: ObjectKind, id: Id, bytes: Vec<u8>) -> Result<(), VisitError> {
        let length = bytes.len() as u64;
        self.upload(kind, id, bytes, false);
        self.add_entry(kind, id, length)
    }

    fn add_entry(&mut self, kind: ObjectKind, id: Id, length: u64) -> Result<(), VisitError> {
        if let Some((page, bytes)) = self.contents.add(kind, id, length)? {
            self.upload(ObjectKind::Page, page, bytes, false);
        }
        Ok(())
    }

    /// One object as an upload of its own.
    pub(super) fn upload(&mut self, kind: ObjectKind, id: Id, bytes: Vec<u8>, provisional: bool) {
        let upload = self.next_upload();
        let length = bytes.len() as u64;
        self.control(ToHub::Open {
            upload,
            kind,
            provisional,
        });
        self.data_bytes(upload, bytes);
        self.control(ToHub::Close { upload, id, length });
    }

    pub(super) fn next_upload(&mut self) -> UploadId {
        let number = self.next_upload;
        self.next_upload += 1;
        UploadId {
            set: self.set,
            number,
        }
    }

    pub(super) fn data_bytes(&mut self, upload: UploadId, bytes: Vec<u8>) {
        self.bytes_queued += bytes.len() as u64;
        let mut left = Bytes::from(bytes);
        while !left.is_empty() {
            let bytes = left.split_to(left.len().min(DATA_SIZE_BYTES_MAX));
            self.queue.push_back(Outgoing::Data { upload, bytes });
        }
    }

    pub(super) fn control(&mut self, message: ToHub) {
        self.queue.push_back(Outgoing::Control(message));
    }
}
