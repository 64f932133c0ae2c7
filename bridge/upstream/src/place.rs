//! An upstream that can be used: tried, looked at, and repositories in it opened.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use berth_bridge::{FolderUpstream, Upstream, UpstreamError};
use berth_repository::Id;
use reqwest::Client;
use tokio::runtime::Runtime;

use crate::objects::{Bucket, Dav};
use crate::remote::Remote;
use crate::rest::Rest;
use crate::sftp::Sftp;
use crate::storage::{LOCKS, Storage};
use crate::{Credentials, UpstreamUrl, web};

/// What is written to see whether an upstream works. Nobody minds when it is left.
const PROBE: &[u8] = b"Berth asks whether it may write here. This file may be removed.\n";

/// Where it is written; at a REST server, which has repositories only, one of this name.
const PROBE_NAME: &str = "berth-probe";

/// An upstream, and what is needed to talk to it.
pub struct Place {
    url: UpstreamUrl,
    credentials: Credentials,
    runtime: Arc<Runtime>,
    /// Where the upstream speaks HTTP: it can't be made where the system has no certificates.
    client: Option<Client>,
    /// Ends the names of files that are not whole yet. Two hubs may forward to one upstream.
    suffix: String,
    hub: [u8; 32],
}

/// An upstream that can't even be tried.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The CA file of the credentials.
    #[error("the CA file {path} can't be used ({source}): give certificates as PEM")]
    CaFile {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No HTTP client.
    #[error("no connections can be made ({0}): is the package ca-certificates installed?")]
    Client(io::Error),
    /// What the upstream's kind needs is not among the credentials.
    #[error("{0} must be given: write them into the credentials file, or set them in the environment")]
    Missing(&'static str),
    /// Nothing is sent there.
    #[error("the server {0} pulls by itself: nothing can be sent to it, or read there")]
    Pulled(String),
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Place {
    /// Nothing is asked of the upstream yet. `hub` is the hub's key: files under way are named after it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(url: UpstreamUrl, credentials: Credentials, hub: [u8; 32]) -> Result<Self, OpenError> {
        let has_keys = credentials.access_key_id.is_some() && credentials.secret_access_key.is_some();
        if matches!(url, UpstreamUrl::S3 { .. }) && !has_keys {
            return Err(OpenError::Missing("access_key_id and secret_access_key"));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(OpenError::Client)?;
        let client = match url {
            UpstreamUrl::Pull(server) => return Err(OpenError::Pulled(server)),
            UpstreamUrl::Folder(_) | UpstreamUrl::Sftp { .. } => None,
            UpstreamUrl::S3 { .. } | UpstreamUrl::WebDav(_) | UpstreamUrl::Rest(_) => {
                Some(web::client(&credentials)?)
            }
        };
        Ok(Self {
            client,
            url,
            credentials,
            runtime: Arc::new(runtime),
            // The Debug form of an id is its first 8 digits. restic passes over names that are no ids.
            suffix: format!("-tmp-berth-{:?}", Id::new(hub)),
            hub,
        })
    }

    /// Writes a small file, reads it back and removes it.
    ///
    /// # Errors
    /// [`UpstreamError`], with what failed.
    pub fn probe(&self) -> Result<(), UpstreamError> {
        match self.opened("")? {
            Opened::Folder(_, root) => probe_folder(&root).map_err(UpstreamError::doing("trying it")),
            Opened::S3(remote) => remote.probe(PROBE_NAME, PROBE),
            Opened::WebDav(remote) => remote.probe(PROBE_NAME, PROBE),
            Opened::Sftp(remote) => remote.probe(PROBE_NAME, PROBE),
            Opened::Rest(_) => self.probe_rest(),
        }
    }

    /// In a repository of its own, as a lock: those may be removed at an append-only server too.
    fn probe_rest(&self) -> Result<(), UpstreamError> {
        let Opened::Rest(mut remote) = self.opened(PROBE_NAME)? else {
            return Ok(());
        };
        remote.prepare()?;
        remote.probe(&format!("{LOCKS}/{}", Id::of(PROBE)), PROBE)
    }

    /// The `config` of the repository in a folder, if there is one: for [`berth_bridge::repository_name`].
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub fn config_in(&self, name: &str) -> Result<Option<Vec<u8>>, UpstreamError> {
        self.repository(name)?.config()
    }

    /// The repository in a folder, which may not be there yet; with an empty name the one that the URL itself names.
    ///
    /// # Errors
    /// [`UpstreamError`] where the name can't be part of a URL.
    pub fn repository(&self, name: &str) -> Result<Box<dyn Upstream>, UpstreamError> {
        Ok(match self.opened(name)? {
            Opened::Folder(folder, _) => Box::new(folder),
            Opened::S3(remote) => Box::new(remote),
            Opened::WebDav(remote) => Box::new(remote),
            Opened::Sftp(remote) => Box::new(remote),
            Opened::Rest(remote) => Box::new(remote),
        })
    }

    fn opened(&self, name: &str) -> Result<Opened, UpstreamError> {
        let failed = UpstreamError::doing("opening it");
        Ok(match &self.url {
            UpstreamUrl::Folder(folder) => {
                let root = folder.join(name);
                Opened::Folder(FolderUpstream::new(&root, &self.hub), root)
            }
            UpstreamUrl::S3 {
                endpoint,
                bucket,
                prefix,
                region,
            } => {
                let root = format!("/{prefix}/{name}");
                let at = (endpoint.as_str(), bucket.as_str(), region.as_str());
                let bucket = Bucket::open(at, &root, &self.credentials, self.client()?);
                Opened::S3(self.remote(bucket.map_err(failed)?))
            }
            UpstreamUrl::WebDav(url) => {
                let (suffix, client) = (self.suffix.clone(), self.client()?);
                let endpoint = url.origin().ascii_serialization();
                let root = format!("{}{name}", url.path());
                let dav = Dav::open(&endpoint, &root, suffix, &self.credentials, client);
                Opened::WebDav(self.remote(dav.map_err(failed)?))
            }
            UpstreamUrl::Sftp { host, port, path } => {
                let root = Path::new(path).join(name);
                let sftp = Sftp::new((host, *port), root, self.suffix.clone(), &self.credentials);
                Opened::Sftp(self.remote(sftp))
            }
            UpstreamUrl::Pull(_) => return Err(failed(io::ErrorKind::Unsupported.into())),
            UpstreamUrl::Rest(url) => {
                // An empty name and a slash would be the top of the server.
                let below = if name.is_empty() {
                    String::new()
                } else {
                    format!("{name}/")
                };
                let root = url.join(&below).map_err(io::Error::other).map_err(failed)?;
                let rest = Rest::new(self.client()?.clone(), root, self.credentials.clone());
                Opened::Rest(self.remote(rest))
            }
        })
    }

    fn client(&self) -> Result<&Client, UpstreamError> {
        let missing = || UpstreamError::doing("opening it")(io::ErrorKind::Unsupported.into());
        self.client.as_ref().ok_or_else(missing)
    }

    fn remote<S: Storage>(&self, storage: S) -> Remote<S> {
        Remote::new(Arc::clone(&self.runtime), storage)
    }
}

/// A repository at a place, or with an empty name the place itself.
enum Opened {
    Folder(FolderUpstream, PathBuf),
    S3(Remote<Bucket>),
    WebDav(Remote<Dav>),
    Sftp(Remote<Sftp>),
    Rest(Remote<Rest>),
}

fn probe_folder(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!(".{PROBE_NAME}-{}", std::process::id()));
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
            File::open(&path)?
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_http_needs_no_certificates() {
        let credentials = Credentials::read(Path::new("/nowhere"), |_| None).unwrap();
        for (url, has_client) in [
            ("/srv/up", false),
            ("sftp://host/up", false),
            ("rest:https://host/", true),
        ] {
            let place = Place::open(url.parse().unwrap(), credentials.clone(), [7; 32]).unwrap();
            assert_eq!(place.client.is_some(), has_client, "{url}");
        }
    }
}
