//! The limits of this format, each with its reason.

/// Plaintext of one blob. Chunks are at most a few MiB; the tree of a flat folder of a million files is about 400 MB of
/// JSON, which is beyond what a pack may hold anyway.
pub const BLOB_RAW_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Plaintext of an index file or a snapshot. restic's own indexes stay under 10 MB (50,000 blobs).
pub const FILE_RAW_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A whole pack, its header included (DESIGN.md, section 7).
pub const PACK_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// A sealed pack header without its length field: what restic reads at most.
pub const PACK_HEADER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A key file or a config. restic's are under 500 bytes.
pub const SMALL_FILE_BYTES_MAX: usize = 64 * 1024;

/// Nesting of decoded JSON (DESIGN.md, section 7). restic's goes 4 deep.
pub const NESTING_MAX: usize = 32;

/// Memory that opening a key file may need. restic stays under 60 MiB.
pub const SCRYPT_MEMORY_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// `N * r * p` that opening a key file may cost: 128 times [`crate::ScryptCost::DEFAULT`], about 10 s.
pub const SCRYPT_WORK_MAX: u64 = 1 << 25;
