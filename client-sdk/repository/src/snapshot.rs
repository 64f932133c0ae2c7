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
    /// The file as it lies in `snapshots/`.
    ///
    /// # Errors
    /// Those of [`seal_file`].
    pub fn seal(&self, key: &MasterKey, nonce: Nonce) -> Result<SealedFile, SealError> {
        seal_file(key, nonce, &json::to_vec(self))
    }

    /// Reads a file of `snapshots/`. The caller has checked its name if that matters. Fields of later restic versions are
    /// left out.
    ///
    /// # Errors
    /// Those of [`open_file`], [`OpenError::Json`], [`OpenError::Nesting`].
    pub fn open(key: &MasterKey, bytes: &[u8]) -> Result<Self, OpenError> {
        json::from_slice(&open_file(key, bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_slice(json: &[u8]) -> Result<Snapshot, OpenError> {
        json::from_slice(json)
    }

    const FULL: &str = concat!(
        r#"{"time":"2026-11-22T15:43:53.620465707Z","#,
        r#""parent":"ac08ce34ba4f8123618661bef2425f7028ffb9ac740578a3ee88684d2523fee8","#,
        r#""tree":"6a670001222e37e6f04602c633f3e651d47eb4d7ca1cfb3e12f7e733d18f57f5","#,
        r#""paths":["/home/me","/a\u0026b"],"hostname":"laptop","username":"me","uid":1000,"gid":100,"#,
        r#""excludes":["*.o"],"tags":["partial","hub:desk","set:2"],"program_version":"berth 0.1.0"}"#
    );

    #[test]
    fn is_read_and_written_as_restic_does() {
        let snapshot = from_slice(FULL.as_bytes()).unwrap();
        assert_eq!(snapshot.paths[1], "/a&b");
        assert_eq!(String::from_utf8(json::to_vec(&snapshot)).unwrap(), FULL);
        let least = r#"{"time":"1970-01-01T00:00:00Z","tree":"6a670001222e37e6f04602c633f3e651d47eb4d7ca1cfb3e12f7e733d18f57f5","paths":[]}"#;
        assert_eq!(
            json::to_vec(&from_slice(least.as_bytes()).unwrap()),
            least.as_bytes()
        );
    }

    #[test]
    fn sealed_snapshot_opens_again() {
        let key = MasterKey::from_bytes(&[7; 64]).unwrap();
        let snapshot = from_slice(FULL.as_bytes()).unwrap();
        let file = snapshot.seal(&key, [1; 16]).unwrap();
        assert_eq!(Snapshot::open(&key, &file.bytes).unwrap(), snapshot);
    }

    #[test]
    fn snapshot_without_a_tree_is_refused() {
        assert!(from_slice(br#"{"time":"1970-01-01T00:00:00Z","tree":null,"paths":[]}"#).is_err());
        assert!(from_slice(br#"{"tree":"x"}"#).is_err());
    }
}
