//! Making packs of what a cut visit left on the hub.
//!
//! Place: `Welcome` names tails -> the logs of those visits say which chunks lie in them -> `Salvage` -> `Salvaged` ->
//! known chunks and packs of this visit's set.
//! Invariant: a chunk counts as known only after the hub has checked the bytes against the log's digest.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use berth_disk::SharedDisk;
use berth_repository::{Id, PackBlob, header_bytes};
use berth_wire::{Tail, ToHub, UploadId};

use super::VisitError;
use super::log::{LogReader, Record};
use super::sink::Sink;

/// Chunks of all tails together that are kept in mind (12 MB); what is more is sent again.
const CHUNKS_MAX: usize = 256 * 1024;

/// A tail and what lies in it.
struct Salvageable {
    tail: Tail,
    /// With offsets from the start of the tail.
    blobs: Vec<PackBlob>,
    /// End of the last of them, from the start of the upload, and the digest up to there.
    length: u64,
    digest: Id,
    /// All of a closed pack is there, with its header.
    is_whole: bool,
}

/// A pack made of a tail.
pub(super) struct SalvagedPack {
    pub(super) id: Id,
    pub(super) length: u64,
    pub(super) blobs: Vec<PackBlob>,
}

/// The tails that are left to ask for.
#[derive(Default)]
pub(super) struct Salvage {
    left: VecDeque<Salvageable>,
    asked: Option<Salvageable>,
    pub(super) packs: Vec<SalvagedPack>,
}

impl Salvage {
    /// Reads the logs of the visits that left these tails.
    pub(super) fn new(disk: &SharedDisk, folder: &str, tails: &[Tail]) -> io::Result<Self> {
        let mut found: BTreeMap<UploadId, Salvageable> = BTreeMap::new();
        for tail in tails {
            found.insert(
                tail.upload,
                Salvageable {
                    tail: tail.clone(),
                    blobs: Vec::new(),
                    length: tail.start,
                    digest: Id::of(b""),
                    is_whole: false,
                },
            );
        }
        let mut sets: Vec<_> = tails.iter().map(|tail| tail.upload.set).collect();
        sets.dedup();
        let mut chunks = 0;
        for set in sets {
            let Some(mut log) = LogReader::open(&**disk, folder, set)? else {
                continue;
            };
            while let Some(record) = log.next()? {
                match record {
                    Record::Chunk { upload, blob, digest } if chunks < CHUNKS_MAX => {
                        if let Some(found) = found.get_mut(&upload) {
                            chunks += usize::from(found.add(blob, digest));
                        }
                    }
                    Record::Closed { upload, id, length } => {
                        if let Some(found) = found.get_mut(&upload) {
                            found.close(id, length);
                        }
                    }
                    Record::Chunk { .. } | Record::Salvaged { .. } | Record::Manifest { .. } => {}
                }
            }
        }
        let left = found
            .into_values()
            .filter(|found| !found.blobs.is_empty())
            .collect();
        Ok(Self {
            left,
            ..Self::default()
        })
    }

    /// The next question; `None`: all were answered.
    pub(super) fn ask(&mut self, sink: &mut Sink) -> Option<ToHub> {
        let next = self.left.pop_front()?;
        let nonce = sink.nonce();
        let message = ToHub::Salvage {
            upload: next.tail.upload,
            length: next.length,
            digest: next.digest,
            header: if next.is_whole {
                Vec::new()
            } else {
                header_bytes(&sink.key, nonce, &next.blobs)
            },
        };
        self.asked = Some(next);
        Some(message)
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.asked.is_some()
    }

    pub(super) fn answered(
        &mut self,
        upload: UploadId,
        pack: Option<Id>,
        length: u64,
    ) -> Result<(), VisitError> {
        let asked = self.asked.take().filter(|asked| asked.tail.upload == upload);
        let Some(asked) = asked else {
            return Err(VisitError::Protocol {
                what: "it salvaged what was not asked for",
            });
        };
        self.packs.extend(pack.map(|id| SalvagedPack {
            id,
            length,
            blobs: asked.blobs,
        }));
        Ok(())
    }
}

impl Salvageable {
    /// Takes the pack as it is, header and all, if none of it became another pack. For tiny files headers are a
    /// twentieth of what is sent.
    fn close(&mut self, id: Id, length: u64) {
        let all = self.blobs.iter().map(|blob| u64::from(blob.length)).sum::<u64>() == self.length;
        if self.tail.start == 0 && self.tail.end >= length && all && length > self.length {
            (self.length, self.digest, self.is_whole) = (length, id, true);
        }
    }

    /// Takes a chunk of the upload if it lies in the tail, whole and next to the one before.
    fn add(&mut self, blob: PackBlob, digest: Id) -> bool {
        let start = u64::from(blob.offset);
        let end = start + u64::from(blob.length);
        let Ok(offset) = u32::try_from(start.wrapping_sub(self.tail.start)) else {
            return false;
        };
        if start != self.length || end > self.tail.end {
            return false;
        }
        self.blobs.push(PackBlob { offset, ..blob });
        (self.length, self.digest) = (end, digest);
        true
    }
}
