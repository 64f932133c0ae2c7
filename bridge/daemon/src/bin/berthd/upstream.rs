//! The upstream: which one, whether it works, and which folder of it is whose.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, anyhow, bail};
use berth_bridge::{FolderUpstream, LaptopId, Spool, Upstream, repository_name};
use berth_daemon::{ForwardFailure, Orders};
use berth_disk::SharedDisk;
use berth_pairing::Name;
use berth_repository::Id;
use tracing::warn;

use crate::roll;

/// Name of the file in the state folder that keeps what `berthctl upstream set` was given.
const STORED: &str = "upstream";

const URL_SIZE_BYTES_MAX: u64 = 4096;

const PROBE: &[u8] = b"Berth asks whether it may write here. This file may be removed.\n";

/// Which upstream is used.
pub(crate) struct Destination {
    /// From a flag or the configuration: it goes before what is stored.
    given: Option<PathBuf>,
    stored: Mutex<Option<PathBuf>>,
    folders: Mutex<Folders>,
    disk: SharedDisk,
}

impl Destination {
    /// A stored one that is damaged is none, and a problem: to set it again, the hub must run.
    pub(crate) fn open(given: Option<&str>, disk: SharedDisk, problems: &mut Vec<String>) -> Result<Self> {
        let given = given.map(folder_of).transpose()?;
        let stored = match disk.read(STORED, URL_SIZE_BYTES_MAX) {
            Ok(bytes) => {
                let stored = String::from_utf8(bytes).ok().map(PathBuf::from);
                let stored = stored.filter(|folder| folder.is_absolute());
                if stored.is_none() {
                    let problem = "the file `upstream` in the state folder is damaged: run `berthctl upstream set FOLDER`";
                    warn!("{problem}");
                    problems.push(problem.to_owned());
                }
                stored
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).context("reading the stored upstream"),
        };
        Ok(Self {
            given,
            stored: Mutex::new(stored),
            folders: Mutex::default(),
            disk,
        })
    }

    /// The one that is used.
    pub(crate) fn folder(&self) -> Option<PathBuf> {
        self.given.clone().or_else(|| self.stored().clone())
    }

    /// What goes before what is stored.
    pub(crate) fn given(&self) -> Option<&Path> {
        self.given.as_deref()
    }

    /// The hub's own disk.
    pub(crate) fn disk(&self) -> &dyn berth_disk::Disk {
        &*self.disk
    }

    /// Checks an upstream and stores it. It is durable on return.
    pub(crate) fn set(&self, url: &str) -> Result<PathBuf> {
        let folder = folder_of(url)?;
        make(&folder)?;
        probe(&folder).with_context(|| format!("the upstream {} does not work", folder.display()))?;
        let text = folder.to_str().context("an upstream's path must be UTF-8")?;
        let mut stored = self.stored();
        berth_disk::replace(&*self.disk, STORED, text.as_bytes()).context("storing the upstream")?;
        *stored = Some(folder.clone());
        drop(stored);
        *self.folders.lock().unwrap_or_else(PoisonError::into_inner) = Folders::default();
        Ok(folder)
    }

    // It is one assignment: a thread that panicked while it held the lock harmed nothing.
    fn stored(&self) -> MutexGuard<'_, Option<PathBuf>> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which repository of this hub's laptops is in which folder of the upstream, or soon will be: two laptops of one name that
/// begin there at the same time both find it free.
#[derive(Default)]
struct Folders(BTreeMap<String, Id>);

impl Folders {
    /// The folder of a repository; `config_in` reads what is in one.
    fn choose(
        &mut self,
        name: &Name,
        repository: &Id,
        mut config_in: impl FnMut(&str) -> Result<Option<Vec<u8>>>,
    ) -> Result<String> {
        let chosen = repository_name(name, repository, |folder| match self.0.get(folder) {
            // Its config is no laptop's.
            Some(other) if other != repository => Ok(Some(Vec::new())),
            Some(_) | None => config_in(folder),
        })?;
        let chosen =
            chosen.map_err(|taken| anyhow!("{taken}: rename one of them, or set another upstream"))?;
        self.0.insert(chosen.clone(), *repository);
        Ok(chosen)
    }
}

/// Reads a URL. Only folders, until there is more.
fn folder_of(url: &str) -> Result<PathBuf> {
    let path = match url.split_once(':') {
        Some(("file", rest)) => {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            unescaped(path).with_context(|| format!("{url:?} is no file:// URL"))?
        }
        Some((scheme, _)) if !scheme.contains('/') && !scheme.is_empty() => {
            bail!("upstreams of the kind {scheme:?} are not built yet: give a folder, or a file:// URL")
        }
        Some(_) | None => url.to_owned(),
    };
    let path = PathBuf::from(path);
    if path.is_absolute() {
        return Ok(path);
    }
    let here =
        std::env::current_dir().context("the upstream's path is relative, and nobody knows to what")?;
    if url.is_empty() {
        bail!("the upstream is empty: give a folder, or a file:// URL");
    }
    Ok(here.join(path))
}

/// `%20` and the like (RFC 3986, 2.1). `None`: malformed.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        bytes.push(if first == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            rest = after;
            u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?
        } else {
            first
        });
    }
    String::from_utf8(bytes)
        .ok()
        .filter(|path| path.starts_with('/') && !path.contains('\0'))
}

/// Makes the folder, but nothing above it: what is missing there is a disk that is not mounted.
pub(crate) fn make(folder: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let above = folder.parent().unwrap_or(folder);
            bail!("{} is missing: is its disk mounted?", above.display())
        }
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("cannot make the upstream folder {}", folder.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes a small file, reads it back and removes it.
fn probe(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!(".berth-probe-{}", std::process::id()));
    let probed = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| {
            file.write_all(PROBE)?;
            file.sync_all()?;
            let mut back = Vec::new();
            fs::File::open(&path)?
                .take(1 + PROBE.len() as u64)
                .read_to_end(&mut back)?;
            if back == PROBE {
                Ok(())
            } else {
                Err(io::Error::other("it gives back other bytes than were written"))
            }
        });
    match fs::remove_file(&path) {
        Err(error) if probed.is_ok() => Err(error),
        Ok(()) | Err(_) => probed,
    }
}

/// Opens a laptop's repository: `UPSTREAM/NAME`, or `UPSTREAM/NAME-<8 hex>` where another lies there.
pub(crate) fn repository(
    destination: &Arc<Destination>,
    spool: &Spool,
    orders: &Orders,
    hub: &[u8; 32],
    laptop: &LaptopId,
) -> Result<Box<dyn Upstream>, ForwardFailure> {
    let failed = |is_upstream| {
        move |error: anyhow::Error| ForwardFailure {
            why: format!("{error:#}"),
            is_upstream,
        }
    };
    let asked = || {
        let upstream = destination
            .folder()
            .context("no upstream is set: run `berthctl upstream set FOLDER`")?;
        let repository = spool
            .repository(laptop)?
            .context("the spool lacks the laptop's config: run `berthctl verify`")?;
        anyhow::Ok((upstream, roll::name_of(orders, laptop)?, repository))
    };
    let (upstream, name, repository) = asked().map_err(failed(false))?;
    let opened = || -> Result<Box<dyn Upstream>> {
        if !upstream.is_dir() {
            bail!(
                "the upstream folder {} is missing: is its disk mounted?",
                upstream.display()
            );
        }
        // Held while the upstream is asked: a laptop is opened once for all it sends.
        let mut folders = destination.folders.lock().unwrap_or_else(PoisonError::into_inner);
        let chosen = folders.choose(&name, &repository, |folder| {
            Ok(FolderUpstream::config_in(&upstream.join(folder))?)
        })?;
        drop(folders);
        Ok(Box::new(FolderUpstream::new(upstream.join(chosen), hub)))
    };
    opened().map_err(failed(true))
}

/// What a laptop is called where nobody remembers its name.
pub(crate) fn nameless(laptop: &LaptopId) -> Name {
    Name::reduce(&format!("laptop-{laptop}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_a_folder_or_a_file_url() {
        for (url, folder) in [
            ("/srv/backup", "/srv/backup"),
            ("/srv/a:b", "/srv/a:b"),
            ("file:///srv/my%20disk", "/srv/my disk"),
            ("file:/srv", "/srv"),
        ] {
            assert_eq!(folder_of(url).unwrap(), Path::new(folder));
        }
        assert!(folder_of("relative").unwrap().is_absolute());
        for url in [
            "s3:bucket",
            "sftp:host:/x",
            "rest:http://x/",
            "https://x",
            "file://host/x",
            "file:///%zz",
            "",
        ] {
            let error = format!("{:#}", folder_of(url).unwrap_err());
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn two_laptops_of_one_name_that_begin_at_the_same_time_get_a_folder_each() {
        let (name, mut folders) = (Name::reduce("desk"), Folders::default());
        let mut choose = |config: &[u8]| folders.choose(&name, &Id::of(config), |_| Ok(None)).unwrap();
        let first = choose(b"first");
        assert_eq!(first, "desk");
        let second = choose(b"second");
        assert_ne!(second, first);
        assert_eq!((choose(b"first"), choose(b"second")), (first, second));
    }

    #[test]
    fn a_probe_leaves_nothing_and_a_missing_disk_is_not_made_up() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("up");
        make(&folder).unwrap();
        make(&folder).unwrap();
        probe(&folder).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        assert!(make(&place.path().join("mnt/disk")).is_err());
        assert!(!place.path().join("mnt").exists());
    }
}
