//! What `berthctl pull` asks of a hub, over HTTPS.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use berth_repository::Id;
use berth_wire::{ObjectEntry, ObjectKind};
use bytes::{Buf, Bytes, BytesMut};
use reqwest::{Certificate, Client, RequestBuilder, Response, StatusCode, redirect};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;
use url::Url;
use zeroize::Zeroizing;

use crate::protocol::{Confirm, Confirming, ListedSet, Object, Waiting};

const CONNECT_MAX: Duration = Duration::from_secs(30);

/// Longest time without a byte: a hub hashes 128 MiB meanwhile, or asks its upstream.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// A list of objects has 110 bytes for each: this is one of 2,000,000.
const JSON_SIZE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Of a refusal, one line.
const LINE_SIZE_BYTES_MAX: usize = 1_000;

/// A file of certificates is a few of them.
const CA_SIZE_BYTES_MAX: u64 = 1024 * 1024;

/// A hub, as a server sees it.
pub struct HubClient {
    runtime: Runtime,
    client: Client,
    base: Url,
    server: String,
    token: Zeroizing<String>,
}

/// A hub that did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// No URL of a hub.
    #[error("{0:?} is no hub: give it as https://SERVER@HOST:PORT/, with what the hub calls this server")]
    Url(String),
    /// A password stands in it.
    #[error("the URL holds a token: take it out, and give it in a file or the environment")]
    Secret,
    /// The file of certificates.
    #[error("the certificate file {path} can't be used ({source}): give the hub's certificate as PEM")]
    CaFile {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It can't be reached, or the connection broke.
    #[error("the hub does not answer ({0}): is it running, and is this its certificate?")]
    Silent(String),
    /// The token.
    #[error(
        "the hub does not know this server, or its token is another one: run `berthctl server add` there"
    )]
    Unknown,
    /// It does not do it.
    #[error("the hub answered {0}: {1}")]
    Refused(u16, String),
    /// It answered something that is none.
    #[error("the hub's answer is none that there is: update both")]
    Foreign,
}

impl HubClient {
    /// Nothing is asked yet. `ca_file`: certificates that are believed; else those of the system are.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn new(url: &str, token: Zeroizing<String>, ca_file: Option<&Path>) -> Result<Self, CallError> {
        let wrong = || CallError::Url(url.chars().take(200).collect());
        let mut base = Url::parse(url).map_err(|_| wrong())?;
        if base.password().is_some() {
            return Err(CallError::Secret);
        }
        let server = base.username().to_owned();
        let is_hub = base.scheme() == "https" && base.path() == "/" && base.query().is_none();
        if !is_hub || server.is_empty() || base.set_username("").is_err() {
            return Err(wrong());
        }
        let silent = |error: reqwest::Error| CallError::Silent(in_one_line(&error));
        // Fails where another part of the program was first, with the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .connect_timeout(CONNECT_MAX)
            .read_timeout(SILENCE_MAX)
            .redirect(redirect::Policy::none());
        if let Some(path) = ca_file {
            let certificates = certificates(path).map_err(|source| CallError::CaFile {
                path: path.to_owned(),
                source,
            })?;
            builder = builder.tls_certs_only(certificates);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| CallError::Silent(error.to_string()))?;
        Ok(Self {
            runtime,
            client: builder.build().map_err(silent)?,
            base,
            server,
            token,
        })
    }

    /// What the hub calls this server.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    pub(crate) fn waiting(&self) -> Result<Waiting, CallError> {
        self.json(self.get("~berth/waiting")?)
    }

    pub(crate) fn sets(&self, laptop: &str) -> Result<Vec<ListedSet>, CallError> {
        self.json(self.get(&format!("~berth/{laptop}/sets"))?)
    }

    pub(crate) fn set(&self, laptop: &str, set: u64) -> Result<Vec<Object>, CallError> {
        self.json(self.get(&format!("~berth/{laptop}/sets/{set}"))?)
    }

    pub(crate) fn before(&self, laptop: &str, set: u64) -> Result<Vec<Object>, CallError> {
        self.json(self.get(&format!("~berth/{laptop}/sets/{set}/before"))?)
    }

    pub(crate) fn confirm(&self, laptop: &str, set: u64, said: &Confirm) -> Result<Confirming, CallError> {
        let url = self.url(&format!("~berth/{laptop}/sets/{set}/confirm"))?;
        let body = serde_json::to_vec(said).map_err(|_| CallError::Foreign)?;
        self.json(self.client.post(url).body(body))
    }

    /// The bytes of an object, which are what its id says, or an error at their end.
    pub(crate) fn object(&self, laptop: &str, entry: &ObjectEntry) -> Result<Pulled<'_>, CallError> {
        let Object { kind, id, .. } = Object::from(entry);
        let path = match entry.kind {
            ObjectKind::Config => format!("{laptop}/config"),
            _ => format!("{laptop}/{kind}/{id}"),
        };
        Ok(Pulled {
            runtime: &self.runtime,
            answer: self.send(self.get(&path)?)?,
            piece: Bytes::new(),
            entry: *entry,
            hash: Sha256::new(),
            taken_bytes: 0,
        })
    }

    fn url(&self, path: &str) -> Result<Url, CallError> {
        self.base.join(path).map_err(|_| CallError::Foreign)
    }

    fn get(&self, path: &str) -> Result<RequestBuilder, CallError> {
        Ok(self.client.get(self.url(path)?))
    }

    fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, CallError> {
        let answer = self.send(request)?;
        let body = self.runtime.block_on(body(answer, JSON_SIZE_BYTES_MAX))?;
        serde_json::from_slice(&body).map_err(|_| CallError::Foreign)
    }

    fn send(&self, request: RequestBuilder) -> Result<Response, CallError> {
        let request = request.basic_auth(&self.server, Some(&*self.token));
        self.runtime.block_on(async {
            let answer = request
                .send()
                .await
                .map_err(|error| CallError::Silent(in_one_line(&error)))?;
            match answer.status() {
                status if status.is_success() => Ok(answer),
                StatusCode::UNAUTHORIZED => Err(CallError::Unknown),
                status => {
                    let line = body(answer, LINE_SIZE_BYTES_MAX).await.unwrap_or_default();
                    let line = String::from_utf8_lossy(&line)
                        .trim_end()
                        .replace(char::is_control, " ");
                    Err(CallError::Refused(status.as_u16(), line))
                }
            }
        })
    }
}

async fn body(mut answer: Response, size_bytes_max: usize) -> Result<Bytes, CallError> {
    let silent = |error: reqwest::Error| CallError::Silent(in_one_line(&error));
    let mut all = BytesMut::new();
    while let Some(piece) = answer.chunk().await.map_err(silent)? {
        if all.len() + piece.len() > size_bytes_max {
            return Err(CallError::Foreign);
        }
        all.extend_from_slice(&piece);
    }
    Ok(all.freeze())
}

fn certificates(path: &Path) -> io::Result<Vec<Certificate>> {
    if std::fs::metadata(path)?.len() > CA_SIZE_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let found = Certificate::from_pem_bundle(&std::fs::read(path)?).map_err(io::Error::other)?;
    if found.is_empty() {
        return Err(io::Error::other("there is none in it"));
    }
    Ok(found)
}

/// What caused it says more than what happened; no URL.
fn in_one_line(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string().replace('\n', " ")
}

/// An object on its way.
pub(crate) struct Pulled<'a> {
    runtime: &'a Runtime,
    answer: Response,
    piece: Bytes,
    entry: ObjectEntry,
    hash: Sha256,
    taken_bytes: u64,
}

impl Read for Pulled<'_> {
    /// Its last bytes are given only if all of them hash to its id.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            let next = self.runtime.block_on(self.answer.chunk());
            match next.map_err(|error| io::Error::other(in_one_line(&error)))? {
                Some(piece) => self.piece = piece,
                None if self.taken_bytes == self.entry.length => return Ok(0),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let size = into.len().min(self.piece.len());
        let (Some(into), Some(piece)) = (into.get_mut(..size), self.piece.get(..size)) else {
            return Ok(0);
        };
        self.hash.update(piece);
        self.taken_bytes += size as u64;
        let is_whole = self.taken_bytes == self.entry.length;
        if self.taken_bytes > self.entry.length
            || is_whole && Id::new(self.hash.clone().finalize().into()) != self.entry.id
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the hub gave other bytes than the name says: run `berthctl verify` there",
            ));
        }
        into.copy_from_slice(piece);
        self.piece.advance(size);
        Ok(size)
    }
}
