//! Restoring: walks the trees of a snapshot and has every entry made in the target.
//!
//! Place: [`Repository::restore`](crate::Repository::restore) -> one walker (folders, symlinks, special files) and
//! several writers (files) -> [`Target`].
//! Order: files as the walk meets them; further names of a file once all files are written; what belongs to folders
//! (mode, times) last and deepest first, because everything above changes it or needs the folder to be writable.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use berth_repository::Id;

use crate::engine::Engine;
use crate::names;
use crate::repository::read_tree;
use crate::target::{Made, Target};
use crate::{Entry, Kind, Problem, RestoreError, Trouble};

/// How many problems a [`Report`] names; more are only counted, so that a lost disk does not fill memory.
pub const PROBLEMS_MAX: usize = 1_000;

/// Threads that write files: reading, opening and writing a file take turns at disk and processor.
const WRITERS_MAX: usize = 8;

/// Files that wait for a writer. Each keeps its folder open, so it also bounds the open folders.
const WAITING_MAX: usize = 64;

/// How far a restore is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Files that are done.
    pub files: u64,
    /// Bytes of content written.
    pub bytes: u64,
}

/// What a restore did.
#[derive(Debug, Default)]
pub struct Report {
    /// Files with their content.
    pub files: u64,
    /// Bytes of their content.
    pub bytes: u64,
    /// Folders.
    pub folders: u64,
    /// Symlinks.
    pub symlinks: u64,
    /// Names that were linked to a file restored under another name.
    pub hard_links: u64,
    /// Fifos and device nodes.
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

pub(crate) fn restore(
    engine: &Engine,
    root: Id,
    wanted: &[PathBuf],
    into: &Path,
    on_progress: &(dyn Fn(Progress) + Sync),
) -> Result<Report, RestoreError> {
    let in_target = |source| RestoreError::Target {
        path: into.to_path_buf(),
        source,
    };
    let restore = Restore {
        engine,
        target: Target::open(into).map_err(in_target)?,
        wanted,
        report: Mutex::new(Report::default()),
        fatal: Mutex::new(None),
        files: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        on_progress,
    };
    let top = read_tree(engine, root)?;
    let later = restore.write_files(top);
    for (first, path) in &later.links {
        restore.link(first, path);
    }
    for (path, entry) in later.folders.iter().rev() {
        let made = restore.target.finish_folder(path, entry);
        restore.note(path, made);
    }
    let fatal = locked(&restore.fatal).take();
    match fatal {
        Some(error) => Err(in_target(error)),
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
            let mut later = Later::default();
            // Folders wait by name, so that one tree at a time is in memory.
            let mut unread = Vec::new();
            self.enter(Path::new(""), top, &jobs, &mut later, &mut unread);
            while let Some((path, id)) = unread.pop() {
                if self.is_over() {
                    break;
                }
                match self.engine.tree(id) {
                    Ok(entries) => self.enter(&path, entries, &jobs, &mut later, &mut unread),
                    Err(source) => self.problem(&path, Trouble::Content(source)),
                }
            }
            // The writers end when there can be no more files.
            drop(jobs);
            later
        })
    }

    /// Makes the entries of one folder. The folder itself is there.
    fn enter(
        &self,
        path: &Path,
        entries: Vec<Entry>,
        jobs: &crossbeam_channel::Sender<Job>,
        later: &mut Later,
        unread: &mut Vec<(PathBuf, Id)>,
    ) {
        let folder = match self.target.folder(path) {
            Ok(folder) => Arc::new(folder),
            Err(error) => return self.problem(path, Trouble::Disk(error)),
        };
        for entry in entries {
            if !names::is_plain(&entry.name) {
                self.problem(&path.join(&entry.name), Trouble::BadName);
                continue;
            }
            let path = path.join(&entry.name);
            if !self.is_wanted(&path, &entry) {
                continue;
            }
            match &entry.kind {
                Kind::Folder { tree } => match self.target.make_folder(&folder, &entry) {
                    Ok(()) => {
                        match tree {
                            Some(tree) => unread.push((path.clone(), *tree)),
                            None => self.problem(&path, Trouble::NoTree),
                        }
                        locked(&self.report).folders += 1;
                        later.folders.push((path, entry));
                    }
                    Err(trouble) => self.problem(&path, trouble),
                },
                Kind::File { .. } => {
                    if let Some(first) = later.first_name(&path, &entry) {
                        later.links.push((first, path));
                        continue;
                    }
                    let job = Job {
                        folder: Arc::clone(&folder),
                        path,
                        entry,
                    };
                    // Writers end only after this sender is gone.
                    if jobs.send(job).is_err() {
                        return;
                    }
                }
                Kind::Socket => locked(&self.report).sockets_left_out += 1,
                Kind::Symlink { .. } | Kind::Fifo | Kind::CharDevice(_) | Kind::BlockDevice(_) => {
                    let made = self.target.make_special(&folder, &entry);
                    if made.is_ok() {
                        let mut report = locked(&self.report);
                        match entry.kind {
                            Kind::Symlink { .. } => report.symlinks += 1,
                            _ => report.special_files += 1,
                        }
                    }
                    self.note(&path, made);
                }
            }
        }
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
        locked(&self.fatal).is_some()
    }

    fn write(&self, job: &Job) {
        if self.is_over() {
            return;
        }
        let Kind::File { content } = &job.entry.kind else {
            return;
        };
        let mut size_bytes = 0;
        let made = self.target.write_file(&job.folder, &job.entry, |file| {
            for id in content {
                let bytes = self.engine.chunk(*id).map_err(Trouble::Content)?;
                if Id::of(&bytes) != *id {
                    return Err(Trouble::WrongChunk(*id));
                }
                file.append(&bytes).map_err(Trouble::Disk)?;
                size_bytes += bytes.len() as u64;
                self.progress(0, bytes.len() as u64);
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
            Err(source) => self.problem(
                path,
                Trouble::Link {
                    first: Path::new("/").join(first),
                    source,
                },
            ),
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
