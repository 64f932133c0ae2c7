//! The restic repository format, version 2: bytes in and out, no IO.
//!
//! Place: chunk -> [`Sealer`] -> [`PackBuilder`] -> [`IndexFile`] -> [`Tree`] -> [`Snapshot`], all under one
//! [`MasterKey`], which a [`KeyFile`] locks with the [`RecoveryKey`].
//!
//! Specification: restic's `doc/design.rst` (repository version 2); where that is silent, what restic 0.14 writes. JSON
//! is written as Go's `encoding/json` writes it, to the byte, so that a tree that restic reads and writes again keeps
//! its id.
//!
//! Invariant: nothing here reads a clock, draws randomness of its own or touches a disk. Randomness comes in as a
//! generator (keys) or as a [`Nonce`] of 16 fresh random bytes. Whatever is decoded may be hostile: it leads to an
//! error, never to a panic, and to no more memory than the limits in [`limits`] allow.

mod blob;
mod config;
mod error;
mod id;
mod index;
mod json;
mod key_file;
pub mod limits;
mod master_key;
mod mode;
mod node;
mod pack;
mod pack_builder;
mod polynomial;
mod quote;
mod recovery_key;
mod sealed_file;
mod sealer;
mod snapshot;
mod timestamp;
mod tree;

pub use blob::{BlobKind, PackBlob};
pub use config::Config;
pub use error::{KeyError, OpenError, PackError, RecoveryKeyError, SealError, TreeError};
pub use id::Id;
pub use index::{IndexFile, IndexPack};
pub use key_file::{KeyFile, KeyOwner, ScryptCost};
pub use master_key::{MasterKey, Nonce, SEAL_OVERHEAD_BYTES};
pub use mode::FileMode;
pub use node::{ExtendedAttribute, Node, NodeKind};
pub use pack::{header_bytes, header_size_bytes, parse_header, parse_pack};
pub use pack_builder::{ClosedPack, PackBuilder};
pub use polynomial::Polynomial;
pub use recovery_key::RecoveryKey;
pub use sealed_file::{SealedFile, open_file, seal_file};
pub use sealer::{COMPRESSION_LEVEL, SealedBlob, Sealer, open_blob};
pub use snapshot::Snapshot;
pub use timestamp::Timestamp;
pub use tree::{Tree, TreeWriter};
