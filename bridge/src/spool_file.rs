//! One object on its way from the spool to the upstream.

use std::io::{self, Read};

use berth_repository::Id;
use sha2::{Digest, Sha256};

use crate::Spool;

/// Reads one object from the spool. Its last bytes are given only if all of them hash to its id: what is damaged never
/// becomes whole upstream.
pub(crate) struct SpoolFile<'a> {
    spool: &'a Spool,
    path: String,
    id: Id,
    length: u64,
    at: u64,
    hash: Sha256,
    damaged: bool,
}

impl<'a> SpoolFile<'a> {
    pub(crate) fn new(spool: &'a Spool, path: String, id: Id, length: u64) -> Self {
        Self {
            spool,
            path,
            id,
            length,
            at: 0,
            hash: Sha256::new(),
            damaged: false,
        }
    }

    /// Its bytes did not hash to its id.
    pub(crate) const fn is_damaged(&self) -> bool {
        self.damaged
    }
}

impl Read for SpoolFile<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.length - self.at).unwrap_or(usize::MAX);
        let size = left.min(into.len());
        if size == 0 {
            return Ok(0);
        }
        let bytes = self.spool.disk.read_range(&self.path, self.at, size)?;
        self.hash.update(&bytes);
        self.at += size as u64;
        if self.at == self.length && Id::new(self.hash.clone().finalize().into()) != self.id {
            self.damaged = true;
            return Err(io::ErrorKind::InvalidData.into());
        }
        if let Some(into) = into.get_mut(..size) {
            into.copy_from_slice(&bytes);
        }
        Ok(size)
    }
}
