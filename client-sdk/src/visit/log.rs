//! What a visit has sent, in order: so that after a cut the next one knows what of it arrived.
//!
//! Place: appended while packs are filled, synced before each mark leaves; read when the hub has said at the next visit
//! which set it sealed and which bytes it has left over.
//! Invariant: a record counts only if all before it are whole. One file for each set, `visits/<set>`, kept until a
//! complete set is sealed: a tail can outlive several visits.

use std::io;

use berth_disk::{Disk, DiskFile, SharedDisk};
use berth_repository::{BlobKind, Id, PackBlob};
use berth_wire::{SetSeq, UploadId};

use super::memory::CatalogueRef;
use crate::catalogue::remove_if_there;
use crate::encoding::{Damaged, Reader, put_bytes, put_number};

/// Read and written at a time.
const BUFFER_SIZE_BYTES: usize = 256 * 1024;

/// First bytes of the SHA-256 of a record, after it.
const CHECK_BYTES: usize = 4;

/// Largest record: all are far below.
const RECORD_SIZE_BYTES_MAX: usize = 4096;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// Bytes of an upload that were given to the link.
    Chunk {
        upload: UploadId,
        blob: PackBlob,
        /// SHA-256 of the upload up to the end of this chunk.
        digest: Id,
    },
    /// The end of a pack: its header was given to the link too.
    Closed { upload: UploadId, id: Id, length: u64 },
    /// A chunk of a pack that the hub made of a tail: it belongs to this set.
    Salvaged { kind: BlobKind, id: Id },
    /// A checkpoint or commit: if the hub sealed this manifest, every chunk before this record is known, and the catalogue
    /// is this.
    Manifest {
        id: Id,
        snapshot: Id,
        catalogue: CatalogueRef,
    },
}

const TAG_CHUNK_DATA: u8 = 0;
const TAG_CHUNK_TREE: u8 = 1;
const TAG_SALVAGED_DATA: u8 = 2;
const TAG_SALVAGED_TREE: u8 = 3;
const TAG_MANIFEST: u8 = 4;
const TAG_CLOSED: u8 = 5;

impl Record {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Chunk { upload, blob, digest } => {
                out.push(match blob.kind {
                    BlobKind::Data => TAG_CHUNK_DATA,
                    BlobKind::Tree => TAG_CHUNK_TREE,
                });
                put_number(out, upload.set.0);
                put_number(out, upload.number.into());
                out.extend_from_slice(blob.id.as_bytes());
                put_number(out, blob.offset.into());
                put_number(out, blob.length.into());
                put_number(
                    out,
                    blob.uncompressed_length.map_or(0, |length| length.get().into()),
                );
                out.extend_from_slice(digest.as_bytes());
            }
            Self::Closed { upload, id, length } => {
                out.push(TAG_CLOSED);
                put_number(out, upload.set.0);
                put_number(out, upload.number.into());
                out.extend_from_slice(id.as_bytes());
                put_number(out, *length);
            }
            Self::Salvaged { kind, id } => {
                out.push(match kind {
                    BlobKind::Data => TAG_SALVAGED_DATA,
                    BlobKind::Tree => TAG_SALVAGED_TREE,
                });
                out.extend_from_slice(id.as_bytes());
            }
            Self::Manifest {
                id,
                snapshot,
                catalogue,
            } => {
                out.push(TAG_MANIFEST);
                out.extend_from_slice(id.as_bytes());
                out.extend_from_slice(snapshot.as_bytes());
                catalogue.put(out);
            }
        }
    }

    fn take(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader(bytes);
        let tag = reader.byte()?;
        let kind = match tag {
            TAG_CHUNK_TREE | TAG_SALVAGED_TREE => BlobKind::Tree,
            _ => BlobKind::Data,
        };
        match tag {
            TAG_CHUNK_DATA | TAG_CHUNK_TREE => Ok(Self::Chunk {
                upload: UploadId {
                    set: SetSeq(reader.number()?),
                    number: reader.small()?,
                },
                blob: PackBlob {
                    id: reader.id()?,
                    kind,
                    offset: reader.small()?,
                    length: reader.small()?,
                    uncompressed_length: std::num::NonZeroU32::new(reader.small()?),
                },
                digest: reader.id()?,
            }),
            TAG_CLOSED => Ok(Self::Closed {
                upload: UploadId {
                    set: SetSeq(reader.number()?),
                    number: reader.small()?,
                },
                id: reader.id()?,
                length: reader.number()?,
            }),
            TAG_SALVAGED_DATA | TAG_SALVAGED_TREE => Ok(Self::Salvaged {
                kind,
                id: reader.id()?,
            }),
            TAG_MANIFEST => Ok(Self::Manifest {
                id: reader.id()?,
                snapshot: reader.id()?,
                catalogue: CatalogueRef::take(&mut reader)?,
            }),
            _ => Err(Damaged),
        }
    }
}

fn path(folder: &str, set: SetSeq) -> String {
    format!("{folder}/visits/{set}")
}

/// The log of the visit under way.
pub(crate) struct VisitLog {
    disk: SharedDisk,
    folder: String,
    file: Box<dyn DiskFile>,
    buffer: Vec<u8>,
    record: Vec<u8>,
}

impl VisitLog {
    /// A new log; one of the same number is replaced.
    pub(crate) fn create(disk: SharedDisk, folder: &str, set: SetSeq) -> io::Result<Self> {
        disk.create_dir(&format!("{folder}/visits"))?;
        let path = path(folder, set);
        remove_if_there(&*disk, &path)?;
        let file = disk.create(&path)?;
        disk.sync_dir(folder)?;
        disk.sync_dir(&format!("{folder}/visits"))?;
        Ok(Self {
            disk,
            folder: folder.to_owned(),
            file,
            buffer: Vec::new(),
            record: Vec::new(),
        })
    }

    /// Appends a record. Durable after [`VisitLog::sync`].
    pub(crate) fn append(&mut self, record: &Record) -> io::Result<()> {
        self.record.clear();
        record.put(&mut self.record);
        put_bytes(&mut self.buffer, &self.record);
        let check = Id::of(&self.record);
        self.buffer
            .extend_from_slice(check.as_bytes().get(..CHECK_BYTES).unwrap_or_default());
        if self.buffer.len() >= BUFFER_SIZE_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes what was appended, so that it outlives this process.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.file.append(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        self.file.sync()
    }

    /// Removes all logs: a complete set was sealed, nothing of them can be asked for any more.
    pub(crate) fn remove_all(self) -> io::Result<()> {
        let folder = format!("{}/visits", self.folder);
        for name in self.disk.list(&folder)? {
            remove_if_there(&*self.disk, &format!("{folder}/{name}"))?;
        }
        self.disk.sync_dir(&folder)
    }
}

/// Reads the log of a set, record by record, up to the first that is not whole.
pub(crate) struct LogReader<'a> {
    disk: &'a dyn Disk,
    path: String,
    length: u64,
    read: u64,
    buffer: Vec<u8>,
    at: usize,
}

impl<'a> LogReader<'a> {
    /// `None`: there is no such log.
    pub(crate) fn open(disk: &'a dyn Disk, folder: &str, set: SetSeq) -> io::Result<Option<Self>> {
        let path = path(folder, set);
        Ok(disk.len(&path)?.map(|length| Self {
            disk,
            path,
            length,
            read: 0,
            buffer: Vec::new(),
            at: 0,
        }))
    }

    pub(crate) fn next(&mut self) -> io::Result<Option<Record>> {
        let left = self.length - self.read;
        if self.buffer.len() - self.at < 2 * RECORD_SIZE_BYTES_MAX && left > 0 {
            self.buffer.drain(..self.at);
            self.at = 0;
            let length = left.min(BUFFER_SIZE_BYTES as u64);
            let more = self.disk.read_range(&self.path, self.read, length as usize)?;
            self.buffer.extend_from_slice(&more);
            self.read += length;
        }
        let mut reader = Reader(self.buffer.get(self.at..).unwrap_or_default());
        let before = reader.0.len();
        let record = reader.bytes().and_then(|record| {
            if reader.take(CHECK_BYTES)? == Id::of(record).as_bytes().get(..CHECK_BYTES).unwrap_or_default() {
                Record::take(record)
            } else {
                Err(Damaged)
            }
        });
        self.at += before - reader.0.len();
        Ok(record.ok())
    }
}
