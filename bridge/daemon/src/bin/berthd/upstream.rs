//! The upstream: which one, whether it works, and which folder of it is whose.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, anyhow, bail};
use berth_bridge::{LaptopId, Spool, Upstream, repository_name};
use berth_daemon::{ForwardFailure, Orders};
use berth_disk::SharedDisk;
use berth_pairing::Name;
use berth_repository::Id;
use berth_upstream::{Credentials, Place, UpstreamUrl};
use tracing::warn;

use crate::config::Config;
use crate::roll;

/// Name of the file in the state folder that keeps what `berthctl upstream set` was given.
const STORED: &str = "upstream";

const URL_SIZE_BYTES_MAX: u64 = 4096;

/// Which upstream is used.
pub(crate) struct Destination {
    /// From a flag or the configuration: it goes before what is stored.
    given: Option<UpstreamUrl>,
    stored: Mutex<Option<UpstreamUrl>>,
    folders: Mutex<Folders>,
    /// What a laptop's folder is called, where that is not its name.
    names: BTreeMap<Name, Name>,
    /// What proves to it who the hub is.
    credentials: PathBuf,
    hub: [u8; 32],
    disk: SharedDisk,
}

impl Destination {
    /// A stored one that is damaged is none, and a problem: to set it again, the hub must run.
    pub(crate) fn open(
        config: &Config,
        hub: [u8; 32],
        disk: SharedDisk,
        problems: &mut Vec<String>,
    ) -> Result<Self> {
        let given = config.upstream.as_deref().map(read).transpose()?;
        let stored = match disk.read(STORED, URL_SIZE_BYTES_MAX) {
            Ok(bytes) => {
                let stored = String::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
                if stored.is_none() {
                    let problem =
                        "the file `upstream` in the state folder is damaged: run `berthctl upstream set URL`";
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
            names: config.folders.clone(),
            credentials: config.credentials(),
            hub,
            disk,
        })
    }

    /// The one that is used.
    pub(crate) fn url(&self) -> Option<UpstreamUrl> {
        self.given.clone().or_else(|| self.stored().clone())
    }

    /// What goes before what is stored.
    pub(crate) const fn given(&self) -> Option<&UpstreamUrl> {
        self.given.as_ref()
    }

    /// The hub's own disk.
    pub(crate) fn disk(&self) -> &dyn berth_disk::Disk {
        &*self.disk
    }

    /// Checks an upstream and stores it. It is durable on return.
    pub(crate) fn set(&self, text: &str) -> Result<UpstreamUrl> {
        let url = read(text)?;
        let text = url.to_string();
        if text.parse() != Ok(url.clone()) {
            bail!("an upstream's path must be UTF-8");
        }
        if let UpstreamUrl::Folder(folder) = &url {
            make(folder)?;
        }
        if !matches!(url, UpstreamUrl::Pull(_)) {
            let probed = self.place(url.clone())?.probe();
            probed
                .map_err(|error| anyhow!("the upstream {url} does not work: {} ({})", error, error.source))?;
        }
        let mut stored = self.stored();
        berth_disk::replace(&*self.disk, STORED, text.as_bytes()).context("storing the upstream")?;
        *stored = Some(url.clone());
        drop(stored);
        *self.folders() = Folders::default();
        Ok(url)
    }

    /// Credentials are read each time: they may have been renewed.
    fn place(&self, url: UpstreamUrl) -> Result<Place> {
        let credentials = Credentials::read(&self.credentials, |name| std::env::var(name).ok())?;
        Ok(Place::open(url, credentials, self.hub)?)
    }

    // Both are whole between any two assignments: a thread that panicked while it held a lock harmed nothing.
    fn folders(&self) -> MutexGuard<'_, Folders> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stored(&self) -> MutexGuard<'_, Option<UpstreamUrl>> {
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

fn read(text: &str) -> Result<UpstreamUrl> {
    Ok(UpstreamUrl::parse(text, std::env::current_dir().ok().as_deref())?)
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

/// Opens a laptop's repository: `UPSTREAM/NAME`, or `UPSTREAM/NAME-<8 hex>` where another lies there. `None`: the
/// upstream is a server that pulls.
pub(crate) fn repository(
    destination: &Arc<Destination>,
    spool: &Spool,
    orders: &Orders,
    laptop: &LaptopId,
) -> Result<Option<Box<dyn Upstream>>, ForwardFailure> {
    let failed = |is_upstream| {
        move |error: anyhow::Error| ForwardFailure {
            why: format!("{error:#}"),
            is_upstream,
        }
    };
    let asked = || {
        let url = destination
            .url()
            .context("no upstream is set: run `berthctl upstream set URL`")?;
        let repository = spool
            .repository(laptop)?
            .context("the spool lacks the laptop's config: run `berthctl verify`")?;
        anyhow::Ok((url, roll::name_of(orders, laptop)?, repository))
    };
    let (url, name, repository) = asked().map_err(failed(false))?;
    let name = destination.names.get(&name).unwrap_or(&name);
    if matches!(url, UpstreamUrl::Pull(_)) {
        return Ok(None);
    }
    let opened = || -> Result<Box<dyn Upstream>> {
        if let UpstreamUrl::Folder(folder) = &url
            && !folder.is_dir()
        {
            bail!(
                "the upstream folder {} is missing: is its disk mounted?",
                folder.display()
            );
        }
        let place = destination.place(url)?;
        // Held while the upstream is asked: a laptop is opened once for all it sends.
        let mut folders = destination.folders();
        let chosen = folders.choose(name, &repository, |folder| {
            let config = place.config_in(folder);
            config.map_err(|error| anyhow!("{error} ({})", error.source))
        })?;
        drop(folders);
        Ok(place.repository(&chosen)?)
    };
    opened().map(Some).map_err(failed(true))
}

/// What a laptop is called where nobody remembers its name.
pub(crate) fn nameless(laptop: &LaptopId) -> Name {
    Name::reduce(&format!("laptop-{laptop}"))
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_missing_disk_is_not_made_up() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("up");
        make(&folder).unwrap();
        make(&folder).unwrap();
        assert!(make(&place.path().join("mnt/disk")).is_err());
        assert!(!place.path().join("mnt").exists());
    }
}
