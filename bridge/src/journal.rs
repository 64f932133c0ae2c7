//! The journal: which sets exist, in what order and state. The only module that knows sled.
//!
//! Place: written by sealing and forwarding, read by `status`; rebuilt from the spool by [`crate::Spool::open`].
//! Invariant: a record is durable only after [`Journal::sync`]. sled's `flush` is **not** durable on Linux (it calls
//! sync_file_range; spacejam/sled#1452), so `sync` flushes and then syncs the file `db`; sled appends its log to that
//! one file. Its folder is synced once, when it is opened. What a record means can always be told from the spool, so
//! a journal that does not open, or holds what does not decode, is put aside and begun anew.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use berth_wire::SetSeq;

use crate::{LaptopId, SetRecord};

/// sled's cache, in bytes. It defaults to 1 GiB; a year of visits of a thousand laptops is a few MiB.
const CACHE_SIZE_BYTES: u64 = 4 * 1024 * 1024;

/// Largest record: sled puts values over a few KiB into files that it never syncs. A record has about 700 bytes.
const RECORD_SIZE_BYTES_MAX: usize = 2 * 1024;

/// The file of sled that holds everything.
const DB: &str = "db";

const SETS: &str = "sets";
const KEY_SIZE_BYTES: usize = 32 + 8;

/// What is wrong with the journal. The sets are safe in the spool; it is rebuilt at the next start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// sled failed.
    #[error("the journal's database failed")]
    Database(#[source] Box<sled::Error>),
    /// The disk failed.
    #[error("the journal's folder failed")]
    Disk(#[source] io::Error),
    /// Another process has it open. Nothing was changed.
    #[error("another program uses the journal")]
    InUse,
    /// A record that does not decode, or is too large.
    #[error("a record of the journal is damaged")]
    Record,
    /// sled gave up in the middle.
    #[error("the journal's database stopped on what it read")]
    Stopped,
}

/// Called after every successful [`Journal::sync`] with the journal's folder, while nothing else writes to it. The
/// tests' world copies the folder here and puts the copy back at a power cut.
pub type OnSynced = Box<dyn Fn(&Path) + Send + Sync>;

/// What opening the journal found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Opened {
    /// There was none.
    New,
    /// It was whole.
    Whole,
    /// It was damaged, and was begun anew; the old one lies beside it, in `PATH.damaged`.
    Damaged {
        /// What was wrong with it.
        why: String,
    },
}

/// The journal.
pub struct Journal {
    folder: PathBuf,
    sets: sled::Tree,
    db: sled::Db,
    on_synced: Option<OnSynced>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens the journal in `folder` (a real one: sled knows no other), reading every record once.
    ///
    /// What does not open or decode is renamed to `FOLDER.damaged`, replacing an older one, and a new journal is begun;
    /// [`crate::Spool::open`] then fills it from the spool.
    ///
    /// # Errors
    /// [`JournalError::InUse`]; else only if a new journal cannot be made either.
    pub fn open(
        folder: impl Into<PathBuf>,
        on_synced: Option<OnSynced>,
    ) -> Result<(Self, Opened), JournalError> {
        let folder = folder.into();
        let new = !folder.join(DB).exists();
        let (sets, db, opened) = match Self::database(&folder) {
            Ok((sets, db)) => (sets, db, if new { Opened::New } else { Opened::Whole }),
            Err(error) if error.is_in_use() => return Err(JournalError::InUse),
            Err(why) => {
                put_aside(&folder).map_err(JournalError::Disk)?;
                let (sets, db) = Self::database(&folder)?;
                let why = why.to_string();
                (sets, db, Opened::Damaged { why })
            }
        };
        let journal = Self {
            folder,
            sets,
            db,
            on_synced,
        };
        journal.sync_folder().map_err(JournalError::Disk)?;
        journal.sync()?;
        Ok((journal, opened))
    }

    fn database(folder: &Path) -> Result<(sled::Tree, sled::Db), JournalError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(JournalError::Disk)?;
        // sled asserts where it should check: on a damaged file it may panic instead of saying so.
        panic::catch_unwind(AssertUnwindSafe(|| {
            let db = sled::Config::new()
                .path(folder)
                .cache_capacity(CACHE_SIZE_BYTES)
                .flush_every_ms(None)
                .mode(sled::Mode::LowSpace)
                .open()?;
            let sets = db.open_tree(SETS)?;
            for entry in &sets {
                let (key, value) = entry?;
                decode_key(&key).ok_or(JournalError::Record)?;
                decode(&value)?;
            }
            Ok((sets, db))
        }))
        .unwrap_or(Err(JournalError::Stopped))
    }

    /// Everything that sled made in the folder, and the folder's own name.
    fn sync_folder(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.is_file() {
                File::open(path)?.sync_all()?;
            }
        }
        File::open(&self.folder)?.sync_all()?;
        match self.folder.parent() {
            Some(above) if !above.as_os_str().is_empty() => File::open(above)?.sync_all(),
            Some(_) | None => Ok(()),
        }
    }

    /// Writes one record. It is durable only after the next successful [`Journal::sync`].
    ///
    /// # Errors
    /// [`JournalError`]: the record may or may not be there.
    pub fn put(&self, laptop: &LaptopId, record: &SetRecord) -> Result<(), JournalError> {
        let value = serde_cbor::ser::to_vec_packed(record).map_err(|_| JournalError::Record)?;
        if value.len() > RECORD_SIZE_BYTES_MAX {
            return Err(JournalError::Record);
        }
        self.sets.insert(key(laptop, record.seq), value)?;
        Ok(())
    }

    /// Removes one record; a missing one is no error. Durable only after the next successful [`Journal::sync`].
    ///
    /// # Errors
    /// [`JournalError`]: the record may or may not be there.
    pub fn remove(&self, laptop: &LaptopId, seq: SetSeq) -> Result<(), JournalError> {
        self.sets.remove(key(laptop, seq))?;
        Ok(())
    }

    /// One set.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn set(&self, laptop: &LaptopId, seq: SetSeq) -> Result<Option<SetRecord>, JournalError> {
        self.sets
            .get(key(laptop, seq))?
            .map(|value| decode(&value))
            .transpose()
    }

    /// All sets of a laptop, in the order in which they were made.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn sets(&self, laptop: &LaptopId) -> Result<Vec<SetRecord>, JournalError> {
        self.sets
            .scan_prefix(laptop.0)
            .map(|entry| decode(&entry?.1))
            .collect()
    }

    /// Laptops of which there are sets.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn laptops(&self) -> Result<Vec<LaptopId>, JournalError> {
        let mut laptops = Vec::new();
        for key in self.sets.iter().keys() {
            let (laptop, _) = decode_key(&key?).ok_or(JournalError::Record)?;
            if laptops.last() != Some(&laptop) {
                laptops.push(laptop);
            }
        }
        Ok(laptops)
    }

    /// Makes every record written so far durable.
    ///
    /// # Errors
    /// [`JournalError`]: none of them is known to be durable.
    pub fn sync(&self) -> Result<(), JournalError> {
        self.db.flush()?;
        File::open(self.folder.join(DB))
            .and_then(|db| db.sync_data())
            .map_err(JournalError::Disk)?;
        if let Some(on_synced) = &self.on_synced {
            on_synced(&self.folder);
        }
        Ok(())
    }
}

impl JournalError {
    /// sled has no kind of its own for a lock that another process holds.
    fn is_in_use(&self) -> bool {
        matches!(self, Self::Database(error) if error.to_string().contains("could not acquire lock"))
    }
}

impl From<sled::Error> for JournalError {
    fn from(error: sled::Error) -> Self {
        Self::Database(Box::new(error))
    }
}

fn put_aside(folder: &Path) -> io::Result<()> {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(".damaged");
    let aside = folder.with_file_name(name);
    match fs::remove_dir_all(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    fs::rename(folder, aside)
}

fn key(laptop: &LaptopId, seq: SetSeq) -> [u8; KEY_SIZE_BYTES] {
    let mut key = [0; KEY_SIZE_BYTES];
    let (front, back) = key.split_at_mut(32);
    front.copy_from_slice(&laptop.0);
    back.copy_from_slice(&seq.0.to_be_bytes());
    key
}

fn decode_key(key: &[u8]) -> Option<(LaptopId, SetSeq)> {
    let (laptop, seq) = key.split_at_checked(32)?;
    Some((
        LaptopId(laptop.try_into().ok()?),
        SetSeq(u64::from_be_bytes(seq.try_into().ok()?)),
    ))
}

fn decode(value: &[u8]) -> Result<SetRecord, JournalError> {
    serde_cbor::from_slice(value).map_err(|_| JournalError::Record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_in_use_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (_journal, _) = Journal::open(&path, None).unwrap();
        assert!(matches!(Journal::open(&path, None), Err(JournalError::InUse)));
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "the journal was put aside"
        );
    }
}
