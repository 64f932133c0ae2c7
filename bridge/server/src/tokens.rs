//! The servers that may call, each with a token of its own.
//!
//! Place: an administrator adds and removes them; every request names one and shows its token.
//! Invariant: of a token only its SHA-256 is kept. A token has 160 random bits, so nothing slower is needed. What is
//! added or removed is durable when the call returns, and holds from the next request on.

use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use berth_disk::SharedDisk;
use berth_pairing::Name;
use berth_repository::Id;
use rand_core::{CryptoRng, RngCore};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Servers of one hub.
pub const SERVERS_MAX: usize = 64;

/// File in the hub's state folder: JSON, mode 0600 as all files there.
const STORED: &str = "servers";

const STORED_SIZE_BYTES_MAX: u64 = 64 * 1024;

const TOKEN_SIZE_BYTES: usize = 20;

/// A server that may call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// What it is called.
    pub name: String,
    /// When it was added, nanoseconds since 1970.
    pub added_at_ns: i64,
    /// SHA-256 of its token.
    token: Id,
}

/// A server that could not be added or removed.
#[derive(Debug, thiserror::Error)]
pub enum ServersError {
    /// It is there already.
    #[error("there is a server {0} already: remove it first, its token then opens nothing any more")]
    Known(String),
    /// There is none of this name.
    #[error("there is no server {0}: run `berthctl server list`")]
    Unknown(String),
    /// Its name is none, or would be another one.
    #[error("a server's name has letters, digits, `.`, `_` and `-`: {0:?} has others, or none")]
    Name(String),
    /// More than [`SERVERS_MAX`].
    #[error("a hub has at most {SERVERS_MAX} servers: remove one")]
    TooMany,
    /// The list can't be written.
    #[error("the list of servers can't be written")]
    Disk(#[from] std::io::Error),
}

/// All of them.
pub struct Servers {
    disk: SharedDisk,
    servers: Mutex<Vec<Server>>,
}

impl Servers {
    /// Reads who was added before. False: the list can't be read, and nobody may call until somebody is added anew.
    #[must_use]
    pub fn open(disk: SharedDisk) -> (Self, bool) {
        let read = match disk.read(STORED, STORED_SIZE_BYTES_MAX) {
            Ok(bytes) => serde_json::from_slice(&bytes).ok(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(Vec::new()),
            Err(_) => None,
        };
        let is_whole = read.is_some();
        let servers = Mutex::new(read.unwrap_or_default());
        (Self { disk, servers }, is_whole)
    }

    /// All servers, in the order in which they were added.
    #[must_use]
    pub fn list(&self) -> Vec<Server> {
        self.lock().clone()
    }

    /// Lets a server call from now on. Its token is told this once.
    ///
    /// # Errors
    /// [`ServersError`]: nothing has changed.
    pub fn add<R: RngCore + CryptoRng>(
        &self,
        name: &str,
        now_ns: i64,
        rng: &mut R,
    ) -> Result<Zeroizing<String>, ServersError> {
        if name.is_empty() || Name::reduce(name).to_string() != name {
            return Err(ServersError::Name(name.chars().take(40).collect()));
        }
        let mut bytes = Zeroizing::new([0; TOKEN_SIZE_BYTES]);
        rng.fill_bytes(&mut *bytes);
        let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let token = Zeroizing::new(token);
        let mut servers = self.lock();
        if servers.iter().any(|server| server.name == name) {
            return Err(ServersError::Known(name.to_owned()));
        }
        if servers.len() >= SERVERS_MAX {
            return Err(ServersError::TooMany);
        }
        let mut more = servers.clone();
        more.push(Server {
            name: name.to_owned(),
            added_at_ns: now_ns,
            token: Id::of(token.as_bytes()),
        });
        self.store(&more)?;
        *servers = more;
        Ok(token)
    }

    /// Refuses a server from the next request on.
    ///
    /// # Errors
    /// [`ServersError`]: nothing has changed.
    pub fn remove(&self, name: &str) -> Result<(), ServersError> {
        let mut servers = self.lock();
        let mut fewer = servers.clone();
        fewer.retain(|server| server.name != name);
        if fewer.len() == servers.len() {
            return Err(ServersError::Unknown(name.chars().take(40).collect()));
        }
        self.store(&fewer)?;
        *servers = fewer;
        Ok(())
    }

    /// Who sent these credentials (RFC 7617: `Basic`, the server's name and its token), if anybody who may call.
    #[must_use]
    pub fn who(&self, authorization: &[u8]) -> Option<String> {
        let encoded = authorization.strip_prefix(b"Basic ")?;
        let decoded = Zeroizing::new(BASE64_STANDARD.decode(encoded).ok()?);
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        let (name, token) = decoded.split_at_checked(colon)?;
        let token = Id::of(token.get(1..)?);
        let mut found = None;
        // All of them, whoever it is.
        for server in &*self.lock() {
            let is_token = server.token.as_bytes().ct_eq(token.as_bytes());
            if bool::from(is_token & server.name.as_bytes().ct_eq(name)) {
                found = Some(server.name.clone());
            }
        }
        found
    }

    fn store(&self, servers: &[Server]) -> Result<(), ServersError> {
        let bytes = serde_json::to_vec(servers).map_err(std::io::Error::from)?;
        Ok(berth_disk::replace(&*self.disk, STORED, &bytes)?)
    }

    // The list is replaced whole.
    fn lock(&self) -> MutexGuard<'_, Vec<Server>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use berth_disk::{Disk, OsDisk};
    use rand_core::OsRng;

    use super::*;

    fn basic(name: &str, token: &str) -> Vec<u8> {
        format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{token}"))).into_bytes()
    }

    #[test]
    fn a_token_opens_for_its_server_alone_and_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(OsDisk::open(folder.path()).unwrap());
        let (servers, _) = Servers::open(disk.clone());
        let first = servers.add("nas", 1, &mut OsRng).unwrap();
        let second = servers.add("vault", 2, &mut OsRng).unwrap();
        assert!(first.len() * 4 >= 128 && *first != *second);
        let stored = disk.read(STORED, STORED_SIZE_BYTES_MAX).unwrap();
        assert!(!String::from_utf8(stored).unwrap().contains(&*first));
        // As after a restart.
        let (servers, is_whole) = Servers::open(disk.clone());
        assert!(is_whole);
        assert_eq!(servers.who(&basic("nas", &first)).as_deref(), Some("nas"));
        for (name, token) in [
            ("nas", second.as_str()),
            ("vault", first.as_str()),
            ("", first.as_str()),
            ("nas", ""),
        ] {
            assert_eq!(servers.who(&basic(name, token)), None);
        }
        assert_eq!(servers.who(b""), None);
        assert_eq!(servers.who(b"Basic !"), None);
        servers.remove("nas").unwrap();
        assert_eq!(servers.who(&basic("nas", &first)), None);
        assert_eq!(servers.who(&basic("vault", &second)).as_deref(), Some("vault"));
        assert!(matches!(servers.remove("nas"), Err(ServersError::Unknown(_))));
        assert!(matches!(
            servers.add("vault", 3, &mut OsRng),
            Err(ServersError::Known(_))
        ));
        for name in ["", "..", "a/b", "a:b"] {
            assert!(servers.add(name, 3, &mut OsRng).is_err(), "{name:?} was taken");
        }
        berth_disk::replace(&*disk, STORED, b"[").unwrap();
        let (servers, is_whole) = Servers::open(disk);
        assert!(!is_whole && servers.who(&basic("vault", &second)).is_none());
    }
}
