//! Restoring: walks the trees of a snapshot and has every entry made in the target.
//!
//! Place: [`Repository::restore`](crate::Repository::restore) -> one walker (folders, symlinks, special files) and
//! several writers (files) -> [`Target`].
//! Order: files in batches as the walk meets them, each batch in the order of its packs, so that neighbours are read
//! together and once; further names of a file once all files are written; what belongs to folders (mode, times) last and
//! deepest first, because everything above changes it or needs the folder to be writable.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use berth_repository::Id;

use crate::engine::Engine;
use crate::names;
use crate::repository::read_tree;
use crate::target::{Made, Target, There};
use crate::{Entry, Kind, Problem, RestoreError, Trouble};

/// How many problems a [`Report`] names; more are only counted, so that a lost disk does not fill memory.
pub const PROBLEMS_MAX: usize = 1_000;

/// Threads that write files: reading, opening and writing a file take turns at disk and processor.
const WRITERS_MAX: usize = 8;

/// Files that wait for a writer. Each keeps its folder open, so it also bounds the open folders.
const WAITING_MAX: usize = 64;

/// Files of one batch: some MiB of memory.
const BATCH_FILES_MAX: usize = 4_096;

/// Chunks of one batch, but for those of its last file: as many MiB.
const BATCH_CHUNKS_MAX: usize = 16_384;

/// Chunks of one file that are planned at once: 512 MiB of content.
pub(crate) const CHUNKS_PLANNED_MAX: usize = 4_096;

/// What becomes of a file, symlink or special file in the target that is not as the snapshot has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and is named in the report.
    Keep,
    /// It is replaced. A folder never is.
    Replace,
}

/// How far a restore is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Files that are done.
    pub files: u64,
    /// Bytes of content written, or found as they should be.
    pub bytes: u64,
}

/// What a restore did.
#[derive(Debug, Default)]
pub struct Report {
    /// Files written.
    pub files: u64,
    /// Bytes of their content.
    pub bytes: u64,
    /// Files that were there already: content, size, time of change and permissions as in the snapshot.
    pub files_there: u64,
    /// Bytes of their content.
    pub bytes_there: u64,
    /// Folders.
    pub folders: u64,
    /// Symlinks, those that were there already too.
    pub symlinks: u64,
    /// Names that are linked to a file restored under another name, those that were there already too.
    pub hard_links: u64,
    /// Fifos and device nodes, those that were there already too.
    pub special_files: u64,
    /// Sockets, which are never restored.
    pub sockets_left_out: u64,
    /// Entries that belong to whoever restored them, since giving files away needs root.
    pub owners_not_set: u64,
    /// What is not, or not wholly, restored; at most [`PROBLEMS_MAX`].
    pub problems: Vec<Problem>,
    /// How many more problems there were.
    pub problems_not_named: u64,
}

impl Report {
    /// Whether everything is there just as it was, but for owners and sockets.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.problems.is_empty() && self.problems_not_named == 0
    }
}

/// A file for a writer.
struct Job {
    folder: Arc<OwnedFd>,
    path: PathBuf,
    entry: Entry,
}

struct Restore<'a> {
    engine: &'a Engine,
    target: Target,
    existing: Existing,
    wanted: &'a [PathBuf],
    report: Mutex<Report>,
    /// Set once, by what makes going on pointless.
    fatal: Mutex<Option<io::Error>>,
    files: AtomicU64,
    bytes: AtomicU64,
    on_progress: &'a (dyn Fn(Progress) + Sync),
}

/// What the walk leaves for the end.
#[derive(Default)]
struct Later {
    /// Further names of a file: the first name, the new one.
    links: Vec<(PathBuf, PathBuf)>,
    /// Folders, those above before those in them.
    folders: Vec<(PathBuf, Entry)>,
    /// First names of files that have several.
    first: BTreeMap<(u64, u64), Vec<(PathBuf, Entry)>>,
}

/// Where a walk is.
#[derive(Default)]
struct Walk {
    /// Folders wait by name, so that one tree at a time is in memory. First in, first out: so they are read ahead.
    unread: VecDeque<(PathBuf, Id)>,
    /// Files for the writers.
    batch: Vec<(PathBuf, Entry)>,
    /// Chunks of these files.
    batch_chunks: usize,
    later: Later,
}

pub(crate) fn restore(
    engine: &Engine,
    root: Id,
    wanted: &[PathBuf],
    into: &Path,
    existing: Existing,
    on_progress: &(dyn Fn(Progress) + Sync),
) -> Result<Report, RestoreError> {
    let in_target = |source| RestoreError::Target {
        path: into.to_path_buf(),
        source,
    };
    let restore = Restore {
        engine,
        target: Target::open(into, existing).map_err(in_target)?,
        existing,
        wanted,
        report: Mutex::new(Report::default()),
        fatal: Mutex::new(None),
        files: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        on_progress,
    };
    let top = read_tree(engine, root)?;
    let later = restore.write_files(top);
    if !restore.is_over() {
        for (first, path) in &later.links {
            restore.link(first, path);
        }
    }
    for (path, entry) in later.folders.iter().rev() {
        let made = restore.target.finish_folder(path, entry);
        restore.note(path, made);
    }
    let fatal = locked(&restore.fatal).take();
    match fatal {
        Some(error) => Err(in_target(error)),
        None if engine.is_lost() => Err(engine.unreadable("the files", "the source is lost".into())),
        None => Ok(restore
            .report
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)),
    }
}

impl Restore<'_> {
    /// Walks all trees while writers write the files found.
    fn write_files(&self, top: Vec<Entry>) -> Later {
        let writers = thread::available_parallelism().map_or(1, |count| count.get().min(WRITERS_MAX));
        let (jobs, waiting) = crossbeam_channel::bounded::<Job>(WAITING_MAX);
        thread::scope(|scope| {
            for _ in 0..writers {
                let waiting = waiting.clone();
                scope.spawn(move || {
                    for job in waiting {
                        self.write(&job);
                    }
                });
            }
            drop(waiting);
            let mut walk = Walk::default();
            self.enter(Path::new(""), top, &mut walk);
            while let Some((path, id)) = walk.unread.pop_front() {
                if self.is_over() {
                    break;
                }
                match self.engine.tree(id) {
                    Ok(entries) => self.enter(&path, entries, &mut walk),
                    Err(source) => self.problem(&path, Trouble::Content(source)),
                }
                if walk.batch.len() >= BATCH_FILES_MAX || walk.batch_chunks >= BATCH_CHUNKS_MAX {
                    self.hand_over(&mut walk, &jobs);
                }
            }
            self.hand_over(&mut walk, &jobs);
            // The writers end when there can be no more files.
            drop(jobs);
            walk.later
        })
    }

    /// Gives the files of a batch to the writers, in the order in which their content lies in the packs.
    fn hand_over(&self, walk: &mut Walk, jobs: &crossbeam_channel::Sender<Job>) {
        let mut batch = std::mem::take(&mut walk.batch);
        walk.batch_chunks = 0;
        batch.sort_by_cached_key(|(_, entry)| {
            let first = entry.content().first();
            first.and_then(|id| self.engine.chunk_place(*id).map(|place| place.key()))
        });
        // All at once, so that neighbours meet before the first is asked for.
        let chunks = batch
            .iter()
            .flat_map(|(_, entry)| entry.content().iter().take(CHUNKS_PLANNED_MAX));
        self.engine.expect_chunks(chunks);
        let mut last: Option<(PathBuf, Arc<OwnedFd>)> = None;
        for (path, entry) in batch {
            let parent = path.parent().unwrap_or(Path::new(""));
            let folder = match &last {
                Some((last, folder)) if last == parent => Ok(Arc::clone(folder)),
                _ => self.target.folder(parent).map(Arc::new),
            };
            let folder = match folder {
                Ok(folder) => folder,
                Err(error) => {
                    self.problem(&path, Trouble::Disk(error));
                    continue;
                }
            };
            last = Some((parent.to_path_buf(), Arc::clone(&folder)));
            // Writers end only after this sender is gone.
            if jobs.send(Job { folder, path, entry }).is_err() {
                return;
            }
        }
    }

    /// Makes the entries of one folder. The folder itself is there.
    fn enter(&self, path: &Path, entries: Vec<Entry>, walk: &mut Walk) {
        let folder = match self.target.folder(path) {
            Ok(folder) => folder,
            Err(error) => return self.problem(path, Trouble::Disk(error)),
        };
        let known = walk.unread.len();
        for entry in entries {
            if !names::is_plain(&entry.name) {
                self.problem(&path.join(&entry.name), Trouble::BadName);
                continue;
            }
            let path = path.join(&entry.name);
            if self.is_wanted(&path, &entry) && !self.is_over() {
                self.make(&folder, path, entry, walk);
            }
        }
        self.engine
            .expect_trees(walk.unread.iter().skip(known).map(|(_, tree)| *tree));
    }

    fn make(&self, folder: &OwnedFd, path: PathBuf, entry: Entry, walk: &mut Walk) {
        match &entry.kind {
            Kind::Folder { tree } => match self.target.make_folder(folder, &entry) {
                Ok(()) => {
                    match tree {
                        Some(tree) => walk.unread.push_back((path.clone(), *tree)),
                        None => self.problem(&path, Trouble::NoTree),
                    }
                    locked(&self.report).folders += 1;
                    walk.later.folders.push((path, entry));
                }
                Err(trouble) => self.problem(&path, trouble),
            },
            Kind::File { content } => {
                if let Some(first) = walk.later.first_name(&path, &entry) {
                    walk.later.links.push((first, path));
                } else if self.is_to_be_made(folder, &path, &entry) {
                    walk.batch_chunks += content.len();
                    walk.batch.push((path, entry));
                }
            }
            Kind::Socket => locked(&self.report).sockets_left_out += 1,
            Kind::Symlink { .. } | Kind::Fifo | Kind::CharDevice(_) | Kind::BlockDevice(_) => {
                if self.is_to_be_made(folder, &path, &entry) {
                    let made = self.target.make_special(folder, &entry);
                    if made.is_ok() {
                        self.count_special(&entry);
                    }
                    self.note(&path, made);
                }
            }
        }
    }

    fn count_special(&self, entry: &Entry) {
        let mut report = locked(&self.report);
        match entry.kind {
            Kind::Symlink { .. } => report.symlinks += 1,
            _ => report.special_files += 1,
        }
    }

    /// Whether an entry that is no folder is to be made: not if it is there as it should be, nor if what is there is to
    /// be kept.
    fn is_to_be_made(&self, folder: &OwnedFd, path: &Path, entry: &Entry) -> bool {
        match self.target.there(folder, entry) {
            Ok(There::Nothing) => true,
            Ok(There::Alike) if !entry.is_file() => {
                self.count_special(entry);
                false
            }
            Ok(There::Alike) if self.has_content(folder, entry) => {
                let mut report = locked(&self.report);
                report.files_there += 1;
                report.bytes_there += entry.size_bytes;
                drop(report);
                self.progress(1, entry.size_bytes);
                false
            }
            Ok(There::Alike | There::Other) => match self.existing {
                Existing::Keep => {
                    self.problem(path, Trouble::Exists);
                    false
                }
                Existing::Replace => true,
            },
            Err(trouble) => {
                self.problem(path, trouble);
                false
            }
        }
    }

    /// Whether the file in the target has the content of the entry: what was written before a power cut may not.
    fn has_content(&self, folder: &OwnedFd, entry: &Entry) -> bool {
        let Ok(mut file) = self.target.open_file(folder, entry) else {
            return false;
        };
        let mut left_bytes = entry.size_bytes;
        let mut bytes = Vec::new();
        for id in entry.content() {
            let Some(size_bytes) = self.engine.chunk_size_bytes(*id).map(u64::from) else {
                return false;
            };
            // The size is the index's word: held to what is there before memory is taken for it.
            if size_bytes > left_bytes {
                return false;
            }
            left_bytes -= size_bytes;
            bytes.clear();
            let is_read = (&mut file).take(size_bytes).read_to_end(&mut bytes).is_ok();
            if !is_read || Id::of(&bytes) != *id {
                return false;
            }
        }
        left_bytes == 0
    }

    /// At or below a wanted path, or a folder on the way to one.
    fn is_wanted(&self, path: &Path, entry: &Entry) -> bool {
        self.wanted.is_empty()
            || self
                .wanted
                .iter()
                .any(|wanted| path.starts_with(wanted) || (entry.is_folder() && wanted.starts_with(path)))
    }

    /// Whether something happened that makes going on pointless.
    fn is_over(&self) -> bool {
        locked(&self.fatal).is_some() || self.engine.is_lost()
    }

    fn write(&self, job: &Job) {
        if self.is_over() {
            return;
        }
        let mut size_bytes = 0;
        let made = self.target.write_file(&job.folder, &job.entry, |file| {
            for (number, window) in job.entry.content().chunks(CHUNKS_PLANNED_MAX).enumerate() {
                if number > 0 {
                    self.engine.expect_chunks(window);
                }
                for (at, id) in window.iter().enumerate() {
                    let appended = self
                        .engine
                        .chunk(*id)
                        .map_err(Trouble::Content)
                        .and_then(|bytes| file.append(&bytes).map_err(Trouble::Disk).map(|()| bytes.len()));
                    let appended = appended.inspect_err(|_| {
                        for id in window.iter().skip(at + 1) {
                            self.engine.pass_over(*id);
                        }
                    })?;
                    size_bytes += appended as u64;
                    self.progress(0, appended as u64);
                }
            }
            Ok(())
        });
        if made.is_ok() {
            let mut report = locked(&self.report);
            report.files += 1;
            report.bytes += size_bytes;
        }
        let is_made = made.is_ok();
        self.note(&job.path, made);
        if is_made && size_bytes != job.entry.size_bytes {
            self.problem(
                &job.path,
                Trouble::Size {
                    actual_bytes: size_bytes,
                    expected_bytes: job.entry.size_bytes,
                },
            );
        }
        self.progress(1, 0);
    }

    fn link(&self, first: &Path, path: &Path) {
        match self.target.link(first, path) {
            Ok(()) => locked(&self.report).hard_links += 1,
            Err(trouble) => self.problem(path, trouble),
        }
        self.progress(1, 0);
    }

    fn progress(&self, files: u64, bytes: u64) {
        (self.on_progress)(Progress {
            files: self.files.fetch_add(files, Ordering::Relaxed) + files,
            bytes: self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes,
        });
    }

    /// Takes down how making an entry went.
    fn note(&self, path: &Path, made: Result<Made, Trouble>) {
        match made {
            Ok(made) => {
                if !made.owner_set {
                    locked(&self.report).owners_not_set += 1;
                }
                for trouble in made.troubles {
                    self.problem(path, trouble);
                }
            }
            Err(trouble) => self.problem(path, trouble),
        }
    }

    fn problem(&self, path: &Path, trouble: Trouble) {
        // What comes after the loss of the source is no problem of its own.
        if self.engine.is_lost() && matches!(trouble, Trouble::Content(_)) {
            return;
        }
        if let Trouble::Disk(error) = &trouble
            && is_end_of_disk(error)
        {
            let again = io::Error::from(error.kind());
            locked(&self.fatal).get_or_insert(again);
        }
        let mut report = locked(&self.report);
        if report.problems.len() < PROBLEMS_MAX {
            report.problems.push(Problem {
                path: Path::new("/").join(path),
                trouble,
            });
        } else {
            report.problems_not_named += 1;
        }
    }
}

impl Later {
    /// The name under which the same file is restored already; else this name becomes its first.
    fn first_name(&mut self, path: &Path, entry: &Entry) -> Option<PathBuf> {
        if entry.links < 2 || entry.inode == 0 {
            return None;
        }
        let known = self.first.entry((entry.device, entry.inode)).or_default();
        let same = known.iter().find(|(_, first)| entry.is_same_file(first));
        if let Some((first, _)) = same {
            return Some(first.clone());
        }
        known.push((path.to_path_buf(), entry.clone()));
        None
    }
}

/// Every further entry would fail the same way.
fn is_end_of_disk(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem
    )
}

/// A writer that panicked has a bug; what the others counted is still true.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
