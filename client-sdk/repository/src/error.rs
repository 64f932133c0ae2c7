//! What can be wrong, one enum per boundary.

use std::io;

/// Sealing failed; nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// More plaintext than [`crate::limits`] allows.
    #[error("{length_bytes} bytes are more than the {max_bytes} that can be sealed as one")]
    TooLarge {
        /// What was given.
        length_bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// zstd refused, in practice because memory ran out.
    #[error("compression failed")]
    Compression(#[source] io::Error),
}

impl SealError {
    /// What the person can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => {
                "A folder holds too many entries. Split it into several folders, or exclude it."
            }
            Self::Compression(_) => "The machine is out of memory. Close other programs and back up again.",
        }
    }
}

/// Sealed bytes could not be opened, or what was in them is not what the format says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Shorter than nonce and tag.
    #[error("{length_bytes} bytes are too short to be sealed data")]
    TooShort {
        /// What was given.
        length_bytes: usize,
    },
    /// Damaged, forged, or sealed with another key.
    #[error("sealed data fails its authentication")]
    Forged,
    /// More than [`crate::limits`] allows.
    #[error("more than the {max_bytes} bytes that are allowed here")]
    TooLarge {
        /// The limit.
        max_bytes: usize,
    },
    /// zstd found no valid frame.
    #[error("decompression failed")]
    Compression(#[source] io::Error),
    /// The content is not as long as the index or pack header says.
    #[error("content has {found_bytes} bytes instead of {expected_bytes}")]
    Length {
        /// What header or index say.
        expected_bytes: usize,
        /// What was there.
        found_bytes: usize,
    },
    /// A file written by a later version of the format.
    #[error("file of unknown version {version}")]
    Version {
        /// Its first byte, or the config's number.
        version: u32,
    },
    /// The content does not have the id it is known by.
    #[error("content does not match its id")]
    WrongId,
    /// Not the JSON of this type.
    #[error("not the expected JSON")]
    Json(#[source] serde_json::Error),
    /// Nested deeper than [`crate::limits::NESTING_MAX`].
    #[error("nested too deeply")]
    Nesting,
    /// A pack header that does not fit its pack.
    #[error("pack header is malformed")]
    PackHeader,
    /// The config's polynomial is not irreducible or not of degree 53.
    #[error("chunker polynomial is not irreducible of degree 53")]
    Polynomial,
    /// A tree that cannot be one folder's.
    #[error("tree is malformed")]
    Tree(#[source] TreeError),
}

impl OpenError {
    /// What the person can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Version { .. } => "Written by a newer program. Update Berth.",
            Self::Compression(_)
            | Self::TooShort { .. }
            | Self::Forged
            | Self::Length { .. }
            | Self::WrongId
            | Self::PackHeader => {
                "The repository is damaged or was made with another key. Run `restic check --read-data` on it."
            }
            Self::TooLarge { .. } | Self::Json(_) | Self::Nesting | Self::Polynomial | Self::Tree(_) => {
                "The repository holds something that neither Berth nor restic writes. Run `restic check` on it."
            }
        }
    }
}

/// Opening a key file failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The password does not open this key file.
    #[error("wrong recovery key")]
    WrongPassword,
    /// Not a key file.
    #[error("not a key file")]
    Malformed,
    /// Parameters that scrypt or [`crate::limits`] do not allow.
    #[error("key file asks for scrypt parameters that are not allowed")]
    Cost,
    /// The master key in it is unusable (all zero).
    #[error("key file holds an unusable master key")]
    Unusable,
}

impl KeyError {
    /// What the person can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::WrongPassword => {
                "Check the recovery key: it belongs to another repository or has a typing mistake."
            }
            Self::Malformed | Self::Cost | Self::Unusable => {
                "The key file is damaged. Take it from another copy of the repository (folder `keys`)."
            }
        }
    }
}

/// A text is not a recovery key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryKeyError {
    /// Too few or too many characters.
    #[error("a recovery key has {expected} characters, this has {found}")]
    Length {
        /// Letters and digits of a recovery key.
        expected: usize,
        /// Letters and digits found.
        found: usize,
    },
    /// A character that no recovery key has.
    #[error("character {position} cannot be part of a recovery key")]
    Character {
        /// Counted from 1, spaces and dashes left out.
        position: usize,
    },
    /// The check characters do not match.
    #[error("recovery key has a typing mistake")]
    Mistyped,
}

impl RecoveryKeyError {
    /// What the person can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Length { .. } => "Type the whole recovery key: seven groups of four letters and digits.",
            Self::Character { .. } => "Type only the letters and digits of the recovery key.",
            Self::Mistyped => "Compare the recovery key with your note, group by group.",
        }
    }
}

/// A blob does not fit the pack. The pack is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// Close this pack and add the blob to a new one.
    #[error("pack is full")]
    Full,
    /// No pack can hold it.
    #[error("a sealed blob of {length_bytes} bytes fits no pack")]
    TooLarge {
        /// Sealed length of the blob.
        length_bytes: usize,
    },
}

impl PackError {
    /// What the person can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Full => "Back up again; if it happens again, report it.",
            Self::TooLarge { .. } => {
                "A folder holds too many entries. Split it into several folders, or exclude it."
            }
        }
    }
}

/// Nodes that cannot be the entries of one folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// Empty, `.`, `..`, or with a `/` or a NUL byte in it.
    #[error("entry {position} has a name that no file can have")]
    Name {
        /// Counted from 0 in the order of the tree.
        position: usize,
    },
    /// Two entries of one name.
    #[error("entry {position} has the name of the one before")]
    Duplicate {
        /// Counted from 0 in the order of the tree.
        position: usize,
    },
    /// Names must ascend, by their bytes.
    #[error("entry {position} is out of order")]
    Order {
        /// Counted from 0.
        position: usize,
    },
}

impl TreeError {
    /// What the person can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        "The file system reported a folder that cannot be. Check the disk, then back up again."
    }
}
