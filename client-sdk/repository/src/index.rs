//! Index files: which blob lies where.

use serde::{Deserialize, Serialize};

use crate::json::{self, null_is_default};
use crate::{Id, MasterKey, Nonce, OpenError, PackBlob, SealError, SealedFile, open_file, seal_file};

/// An index file. A repository has several; together they list every pack once.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct IndexFile {
    /// Older index files that this one replaces. Berth writes none; restic up to 0.17 does.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub supersedes: Vec<Id>,
    /// The packs.
    #[serde(deserialize_with = "null_is_default")]
    pub packs: Vec<IndexPack>,
}

/// One pack in an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexPack {
    /// Name of the pack.
    pub id: Id,
    /// All its blobs.
    #[serde(deserialize_with = "null_is_default")]
    pub blobs: Vec<PackBlob>,
}

impl IndexFile {
    /// The file's plaintext.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        json::to_vec(self)
    }

    /// Reads the file's plaintext.
    ///
    /// # Errors
    /// [`OpenError::Json`], [`OpenError::Nesting`].
    pub fn from_json(json: &[u8]) -> Result<Self, OpenError> {
        json::from_slice(json)
    }

    /// The file as it lies in `index/`.
    ///
    /// # Errors
    /// Those of [`seal_file`].
    pub fn seal(&self, key: &MasterKey, nonce: Nonce) -> Result<SealedFile, SealError> {
        seal_file(key, nonce, &self.to_json())
    }

    /// Reads a file of `index/`. The caller has checked its name if that matters.
    ///
    /// # Errors
    /// Those of [`open_file`] and [`IndexFile::from_json`].
    pub fn open(key: &MasterKey, bytes: &[u8]) -> Result<Self, OpenError> {
        Self::from_json(&open_file(key, bytes)?)
    }
}
