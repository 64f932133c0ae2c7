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
    /// The file as it lies in `index/`.
    ///
    /// # Errors
    /// Those of [`seal_file`].
    pub fn seal(&self, key: &MasterKey, nonce: Nonce) -> Result<SealedFile, SealError> {
        seal_file(key, nonce, &json::to_vec(self))
    }

    /// Reads a file of `index/`. The caller has checked its name if that matters.
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

    fn from_slice(json: &[u8]) -> Result<IndexFile, OpenError> {
        json::from_slice(json)
    }

    /// Written by restic 0.14 (shortened); the second blob stands for an uncompressed one.
    const WRITTEN_BY_RESTIC: &str = concat!(
        r#"{"packs":[{"id":"b0891851f3c681121a6a51e9fc8610ca19c25f1588513171a6202cb8bddaa12a","blobs":["#,
        r#"{"id":"8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4","type":"data","offset":0,"#,
        r#""length":43,"uncompressed_length":2},"#,
        r#"{"id":"ac08ce34ba4f8123618661bef2425f7028ffb9ac740578a3ee88684d2523fee8","type":"tree","offset":43,"#,
        r#""length":42}]}]}"#
    );

    #[test]
    fn is_read_and_written_as_restic_does() {
        let index = from_slice(WRITTEN_BY_RESTIC.as_bytes()).unwrap();
        assert_eq!(
            String::from_utf8(json::to_vec(&index)).unwrap(),
            WRITTEN_BY_RESTIC
        );
        let raw: Vec<u32> = index.packs[0].blobs.iter().map(PackBlob::raw_length).collect();
        assert_eq!(raw, [2, 10]);
    }

    #[test]
    fn sealed_index_opens_again() {
        let key = MasterKey::from_bytes(&[7; 64]).unwrap();
        let index = from_slice(WRITTEN_BY_RESTIC.as_bytes()).unwrap();
        let file = index.seal(&key, [1; 16]).unwrap();
        assert_eq!(IndexFile::open(&key, &file.bytes).unwrap(), index);
    }

    #[test]
    fn absent_lists_are_empty_and_other_json_is_refused() {
        assert_eq!(from_slice(br#"{"packs":null}"#).unwrap(), IndexFile::default());
        for json in [
            "",
            "{}",
            "[]",
            r#"{"packs":[{"id":"x","blobs":[]}]}"#,
            r#"{"packs":[],"supersedes":[1]}"#,
        ] {
            assert!(from_slice(json.as_bytes()).is_err(), "{json}");
        }
    }
}
