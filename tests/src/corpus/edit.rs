//! What people do to files between two visits.

use std::fs::{self, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use super::{below, random};
use crate::compare::files;

/// One edited file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The file.
    pub path: PathBuf,
    /// Bytes written to it.
    pub bytes: u64,
}

/// Overwrites the first bytes (at most 1 KiB) of `per_mille` of the regular files below `root`, at least one of them.
/// An empty file gets a line.
///
/// # Errors
/// Those of the disk.
pub fn edit_share(root: &Path, seed: u64, per_mille: u64) -> io::Result<Vec<Edit>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut left = files(root)?;
    let wanted = (left.len() as u64 * per_mille / 1000).max(1);
    let mut edits = Vec::new();
    while (edits.len() as u64) < wanted && !left.is_empty() {
        let path = left.swap_remove(below(&mut rng, left.len() as u64) as usize);
        let size = fs::metadata(&path)?.len().clamp(64, 1024);
        let mut bytes = Vec::new();
        random(&mut bytes, &mut rng, size)?;
        OpenOptions::new().write(true).open(&path)?.write_all(&bytes)?;
        edits.push(Edit { path, bytes: size });
    }
    Ok(edits)
}

/// Inserts `bytes` at `offset`; what follows moves back, as when a document is saved with a picture added.
///
/// # Errors
/// Those of the disk.
pub fn insert(path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut rest = Vec::new();
    io::Read::read_to_end(&mut file, &mut rest)?;
    file.write_all_at(bytes, offset)?;
    file.write_all_at(&rest, offset + bytes.len() as u64)
}

/// Overwrites `count` blocks of `size` bytes at random places, each a multiple of `size`, as a database or a virtual
/// machine does.
///
/// # Errors
/// Those of the disk.
pub fn scattered_writes(path: &Path, seed: u64, count: u64, size: usize) -> io::Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let file = OpenOptions::new().write(true).open(path)?;
    let blocks = file.metadata()?.len() / size as u64;
    let mut block = vec![0; size];
    for _ in 0..count {
        rng.fill_bytes(&mut block);
        file.write_all_at(&block, below(&mut rng, blocks) * size as u64)?;
    }
    Ok(())
}
