//! Folders made from a seed: the same seed gives the same names and contents, to the byte.
//!
//! [`odd_folder`] has one of everything a file system can hold; the others imitate what people back up, each with a
//! weight of its own: text and office files compress, media do not, many small files are all metadata, a disk image is
//! one large file that changes in the middle.

mod edit;
mod odd;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

pub use edit::{Edit, edit_share, insert, scattered_writes};
pub use odd::{OddFolder, beyond_restic, odd_folder};

/// Different words a text is made of; natural language has more, source code fewer.
const WORDS: usize = 8_000;

/// Files in one folder of a corpus.
const FILES_PER_FOLDER: u64 = 40;

/// Text like source code and logs (compresses to about a third), and among it office documents, which are zip files
/// (do not compress). About `size_bytes` in all, files of 200 bytes to 4 MiB, most of them small.
///
/// # Errors
/// Those of the disk.
pub fn text_and_office(root: &Path, seed: u64, size_bytes: u64) -> io::Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let words = words(&mut rng);
    let mut left = size_bytes;
    let mut number = 0;
    while left > 0 {
        // Sizes spread evenly over the orders of magnitude, as those of real folders roughly do.
        let size = (200 << below(&mut rng, 14)).min(left).max(1);
        let size = size + below(&mut rng, size).min(left - size);
        left -= size;
        let is_office = below(&mut rng, 10) == 0;
        let path = place(root, number, if is_office { "docx" } else { "txt" })?;
        let mut file = BufWriter::new(File::create(path)?);
        if is_office {
            let magic = b"PK\x03\x04";
            let magic = &magic[..magic.len().min(size as usize)];
            file.write_all(magic)?;
            random(&mut file, &mut rng, size - magic.len() as u64)?;
        } else {
            text(&mut file, &mut rng, &words, size)?;
        }
        file.flush()?;
        number += 1;
    }
    Ok(())
}

/// Content that no compressor makes smaller, as photos and films are: files of 64 KiB to 16 MiB.
///
/// # Errors
/// Those of the disk.
pub fn incompressible(root: &Path, seed: u64, size_bytes: u64) -> io::Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut left = size_bytes;
    let mut number = 0;
    while left > 0 {
        let size = ((64 << 10) << below(&mut rng, 9)).min(left);
        left -= size;
        let mut file = File::create(place(root, number, "jpg")?)?;
        random(&mut file, &mut rng, size)?;
        number += 1;
    }
    Ok(())
}

/// `count` files of 0 to 2 KiB, all in one folder.
///
/// # Errors
/// Those of the disk.
pub fn small_files(root: &Path, seed: u64, count: u64) -> io::Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    fs::create_dir_all(root)?;
    for number in 0..count {
        let size = below(&mut rng, 2049);
        let mut file = File::create(root.join(format!("file-{number:06}")))?;
        random(&mut file, &mut rng, size)?;
    }
    Ok(())
}

/// Folders in each other, `depth` deep, with a small file in each.
///
/// # Errors
/// Those of the disk; a path of more than 4 KiB can't be made.
pub fn deep_tree(root: &Path, seed: u64, depth: u64) -> io::Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut folder = root.to_path_buf();
    fs::create_dir_all(&folder)?;
    for level in 0..depth {
        fs::write(folder.join("file"), format!("{level} {}\n", rng.next_u64()))?;
        folder.push("d");
        fs::create_dir(&folder)?;
    }
    Ok(())
}

/// One file like the disk of a virtual machine: stretches of incompressible data, of text and of zeros.
///
/// # Errors
/// Those of the disk.
pub fn disk_image(path: &Path, seed: u64, size_bytes: u64) -> io::Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let words = words(&mut rng);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut left = size_bytes;
    while left > 0 {
        let size = ((1 + below(&mut rng, 64)) << 16).min(left);
        left -= size;
        match below(&mut rng, 10) {
            0..=5 => random(&mut file, &mut rng, size)?,
            6..=8 => text(&mut file, &mut rng, &words, size)?,
            _ => io::copy(&mut io::Read::take(io::repeat(0), size), &mut file).map(drop)?,
        }
    }
    file.flush()
}

/// The path of a corpus's file, in folders of [`FILES_PER_FOLDER`] two levels deep.
fn place(root: &Path, number: u64, extension: &str) -> io::Result<PathBuf> {
    let folder = number / FILES_PER_FOLDER;
    let folder = root.join(format!("part-{:02}/folder-{folder:04}", folder / 20));
    if number.is_multiple_of(FILES_PER_FOLDER) {
        fs::create_dir_all(&folder)?;
    }
    Ok(folder.join(format!("file-{number:06}.{extension}")))
}

/// A number from 0 to `bound` - 1, with a bias that does not matter here; 0 if the bound is.
fn below(rng: &mut ChaCha8Rng, bound: u64) -> u64 {
    rng.next_u64().checked_rem(bound).unwrap_or(0)
}

fn words(rng: &mut ChaCha8Rng) -> Vec<Vec<u8>> {
    (0..WORDS)
        .map(|_| {
            let length = 2 + below(rng, 9);
            (0..length)
                .map(|_| b"etaoinshrdlucmfwypvbgkjqxz_"[below(rng, 27) as usize])
                .collect()
        })
        .collect()
}

/// Words in lines; frequent ones as frequent as in a language (every second pick is from half of the words).
fn text(output: &mut impl Write, rng: &mut ChaCha8Rng, words: &[Vec<u8>], size: u64) -> io::Result<()> {
    let mut left = size as usize;
    let mut in_line = 0;
    while left > 0 {
        let mut rank = WORDS as u64;
        let bits = rng.next_u64();
        for bit in 0..12 {
            if bits >> bit & 1 == 1 {
                rank /= 2;
            }
        }
        let word = &words[((bits >> 12) % rank.max(1)) as usize];
        in_line += 1;
        let end: &[u8] = if in_line % 12 == 0 { b"\n    " } else { b" " };
        for bytes in [word.as_slice(), end] {
            let take = bytes.len().min(left);
            output.write_all(&bytes[..take])?;
            left -= take;
        }
    }
    Ok(())
}

fn random(output: &mut impl Write, rng: &mut ChaCha8Rng, size: u64) -> io::Result<()> {
    let mut block = vec![0; 1 << 16];
    let mut left = size;
    while left > 0 {
        let take = left.min(block.len() as u64) as usize;
        rng.fill_bytes(&mut block[..take]);
        output.write_all(&block[..take])?;
        left -= take as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{Owners, differences};

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
        let folder = tempfile::tempdir().unwrap();
        let contents = |name: &str, seed| {
            let path = folder.path().join(name);
            disk_image(&path, seed, 3_000_000).unwrap();
            fs::read(path).unwrap()
        };
        assert!(contents("a", 1) == contents("b", 1));
        assert!(contents("c", 1) != contents("d", 2));
        assert_eq!(contents("e", 3).len(), 3_000_000);
    }

    #[test]
    fn a_corpus_has_the_size_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        for (name, make) in [
            ("text", text_and_office as fn(&Path, u64, u64) -> io::Result<()>),
            ("random", incompressible),
        ] {
            let root = folder.path().join(name);
            make(&root, 7, 5_000_000).unwrap();
            let size: u64 = crate::compare::files(&root)
                .unwrap()
                .iter()
                .map(|path| fs::metadata(path).unwrap().len())
                .sum();
            assert_eq!(size, 5_000_000, "{name}");
        }
    }

    #[test]
    fn an_edit_changes_what_it_says_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let [before, after] = ["before", "after"].map(|name| folder.path().join(name));
        for root in [&before, &after] {
            small_files(root, 3, 200).unwrap();
        }
        let edits = edit_share(&after, 5, 10).unwrap();
        assert_eq!(edits.len(), 2);
        let changed: Vec<PathBuf> = differences(&before, &after, Owners::Compared, &[])
            .unwrap()
            .into_iter()
            .filter(|difference| difference.what.contains("content") || difference.what.contains("size"))
            .map(|difference| difference.path)
            .collect();
        let mut edited: Vec<PathBuf> = edits
            .iter()
            .map(|edit| edit.path.strip_prefix(&after).unwrap().to_path_buf())
            .collect();
        edited.sort();
        assert_eq!(changed, edited);
    }
}
