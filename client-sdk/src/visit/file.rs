//! Reading one file: open, cut, store, and judge whether it stood still meanwhile.

use std::io;
use std::path::PathBuf;

use berth_repository::{BlobKind, Id};

use super::sink::Sink;
use super::{NotReadReason, VisitError};
use crate::chunker::Chunker;
use crate::entry::{Content, Entry};
use crate::{FileKind, Metadata, Source, SourceFile, Xattrs};

/// Where times are kept to the nanosecond they are still only taken from a clock that ticks 100 times a second on the
/// slowest kernels: a change within two ticks of another may not show.
const TICK_NS: i128 = 20_000_000;

/// Where they are kept in whole seconds, the coarsest system in use (FAT) keeps every other one.
const COARSE_TICK_NS: i128 = 2_000_000_000;

/// Read from a file that says to have no bytes, such as those in `/proc`.
const UNSIZED_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A file that is being read.
pub(super) struct FileRead {
    pub(super) path: PathBuf,
    pub(super) name: Vec<u8>,
    file: Limited,
    /// When it was opened.
    pub(super) metadata: Metadata,
    opened_at_ns: i128,
    pub(super) chunks: Vec<Id>,
    pub(super) size: u64,
}

/// How a file ended.
pub(super) enum FileEnd {
    /// It is in the set; maybe with something to be told about it.
    Done(Box<Entry>, Option<NotReadReason>),
    /// It could not be read, and is not there in full.
    Failed(io::Error),
}

impl FileRead {
    pub(super) fn open(
        source: &dyn Source,
        chunker: &mut Chunker,
        path: PathBuf,
        name: Vec<u8>,
        now_ns: i128,
    ) -> io::Result<Self> {
        let file = source.open(&path)?;
        let metadata = file.metadata()?;
        if metadata.kind != FileKind::File {
            return Err(io::ErrorKind::NotFound.into());
        }
        chunker.restart();
        let left = if metadata.size == 0 {
            UNSIZED_BYTES_MAX
        } else {
            metadata.size
        };
        Ok(Self {
            path,
            name,
            file: Limited { file, left },
            metadata,
            opened_at_ns: now_ns,
            chunks: Vec::new(),
            size: 0,
        })
    }

    /// Reads and stores one chunk, and gives its length; `None` at the end of the file.
    pub(super) fn step(
        &mut self,
        chunker: &mut Chunker,
        sink: &mut Sink,
    ) -> Result<io::Result<Option<u64>>, VisitError> {
        let chunk = match chunker.next(&mut self.file) {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return Ok(Ok(None)),
            Err(error) => return Ok(Err(error)),
        };
        let length = chunk.len() as u64;
        self.chunks.push(sink.store(BlobKind::Data, chunk)?);
        self.size += length;
        Ok(Ok(Some(length)))
    }

    /// The file as it was read.
    pub(super) fn finish(self, source: &dyn Source) -> FileEnd {
        let after = match self.file.file.metadata() {
            Ok(after) => after,
            Err(error) => return FileEnd::Failed(error),
        };
        let stood_still = after.size == self.metadata.size
            && after.modified == self.metadata.modified
            && after.changed == self.metadata.changed
            && (self.size == after.size || after.size == 0);
        let (xattrs, attributes) = xattrs_of(source, &self.path);
        let unclean = !stood_still || is_fresh(&self.metadata, self.opened_at_ns) || attributes.is_some();
        let entry = Entry {
            name: self.name,
            metadata: self.metadata,
            xattrs,
            content: Content::File {
                size: self.size,
                chunks: self.chunks,
            },
            unclean,
        };
        let why = if stood_still {
            attributes
        } else {
            Some(NotReadReason::Changed)
        };
        FileEnd::Done(Box::new(entry), why)
    }
}

/// The extended attributes, or why there are none.
pub(super) fn xattrs_of(source: &dyn Source, path: &std::path::Path) -> (Xattrs, Option<NotReadReason>) {
    match source.xattrs(path) {
        Ok(xattrs) => (xattrs, None),
        // It was read to its end, and vanished after that.
        Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), None),
        Err(error) => (
            Vec::new(),
            Some(NotReadReason::Attributes {
                error: error.to_string(),
            }),
        ),
    }
}

/// Changed so shortly before `now_ns` that another change could leave the same times.
pub(super) fn is_fresh(metadata: &Metadata, now_ns: i128) -> bool {
    let changed = metadata.changed;
    let tick = if metadata.changed.nanoseconds == 0 {
        COARSE_TICK_NS
    } else {
        TICK_NS
    };
    i128::from(changed.seconds) * 1_000_000_000 + i128::from(changed.nanoseconds) + tick >= now_ns
}

/// A file as long as it was when it was opened: what is added while it is read comes with the next visit, and one that
/// grows for ever ends.
struct Limited {
    file: Box<dyn SourceFile>,
    left: u64,
}

impl SourceFile for Limited {
    fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = match buffer.get_mut(..length) {
            Some(room) if !room.is_empty() => self.file.read(room)?,
            Some(_) | None => 0,
        };
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Content;
    use crate::entry::tests::entry;
    use crate::{FileKind, Timestamp};

    fn changed_at(seconds: i64, nanoseconds: u32) -> Metadata {
        let mut metadata = entry("x", Content::Nothing).metadata;
        metadata.kind = FileKind::File;
        metadata.changed = Timestamp { seconds, nanoseconds };
        metadata
    }

    #[test]
    fn a_file_that_changed_within_a_tick_of_being_read_is_read_again() {
        let now_ns = 100_500_000_000;
        for (seconds, nanoseconds, fresh) in [
            (100, 499_000_000, true),
            (100, 480_000_001, true),
            (100, 470_000_000, false),
            // A clock that was set back.
            (200, 1, true),
            // A file system that keeps whole seconds.
            (99, 0, true),
            (98, 0, false),
        ] {
            assert_eq!(
                is_fresh(&changed_at(seconds, nanoseconds), now_ns),
                fresh,
                "{seconds}.{nanoseconds}"
            );
        }
    }
}
