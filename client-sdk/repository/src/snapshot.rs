//! Snapshots: a tree, when it was, and whose.

use serde::{Deserialize, Serialize};

use crate::json::{self, is_default, null_is_default};
use crate::{Id, MasterKey, Nonce, OpenError, SealError, SealedFile, Timestamp, open_file, seal_file};

/// One backup. The fields are restic's, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// When it was made.
    pub time: Timestamp,
    /// The snapshot it follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Id>,
    /// Id of the root tree.
    pub tree: Id,
    /// Absolute paths of what was backed up; bytes that are not UTF-8 as U+FFFD.
    #[serde(deserialize_with = "null_is_default")]
    pub paths: Vec<String>,
    /// The laptop.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// Who ran it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// Who ran it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub uid: u32,
    /// Group of who ran it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub gid: u32,
    /// Patterns of what was left out.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub excludes: Vec<String>,
    /// Words for `restic forget --tag` and the like.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub tags: Vec<String>,
    /// The snapshot it was made from by `restic tag` and the like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<Id>,
    /// The program and its version.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub program_version: String,
}

impl Snapshot {
    /// The file's plaintext.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        json::to_vec(self)
    }

    /// Reads the file's plaintext. Fields of later restic versions are left out.
    ///
    /// # Errors
    /// [`OpenError::Json`], [`OpenError::Nesting`].
    pub fn from_json(json: &[u8]) -> Result<Self, OpenError> {
        json::from_slice(json)
    }

    /// The file as it lies in `snapshots/`.
    ///
    /// # Errors
    /// Those of [`seal_file`].
    pub fn seal(&self, key: &MasterKey, nonce: Nonce) -> Result<SealedFile, SealError> {
        seal_file(key, nonce, &self.to_json())
    }

    /// Reads a file of `snapshots/`. The caller has checked its name if that matters.
    ///
    /// # Errors
    /// Those of [`open_file`] and [`Snapshot::from_json`].
    pub fn open(key: &MasterKey, bytes: &[u8]) -> Result<Self, OpenError> {
        Self::from_json(&open_file(key, bytes)?)
    }
}
