//! Contents and edits of files, drawn from a seed.

use std::path::Path;
use std::time::Duration;

use berth_radio_sim::CutPolicy;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use super::source::{Files, ROOT};

/// Bytes that do not compress.
#[must_use]
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// Text that compresses, as an office's does.
#[must_use]
pub fn words(length: usize, seed: u64) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut text = Vec::with_capacity(length + 16);
    while text.len() < length {
        text.extend(format!("word{} ", rng.next_u32() % 4000).into_bytes());
    }
    text.truncate(length);
    text
}

/// What a story draws from its seed.
pub(super) struct Draw(ChaCha8Rng);

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub(super) fn seed(&mut self) -> u64 {
        self.0.next_u64()
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound.max(1)
    }

    pub(super) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    pub(super) fn policy(&mut self) -> CutPolicy {
        match self.below(3) {
            0 => CutPolicy::LoseAll,
            _ => CutPolicy::Random(self.0.next_u64()),
        }
    }

    pub(super) fn seconds(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.below(most * 1000) + 1)
    }

    fn size(&mut self) -> usize {
        let most = self.of(&[100, 5_000, 40_000, 40_000, 300_000, 1_200_000]);
        self.below(most) as usize
    }

    pub(super) fn content(&mut self) -> Vec<u8> {
        let (size, seed) = (self.size(), self.0.next_u64());
        if self.below(2) == 0 {
            noise(size, seed)
        } else {
            words(size, seed)
        }
    }

    pub(super) fn path(&mut self) -> String {
        let number = self.below(60);
        match self.below(4) {
            0 => format!("file-{number}"),
            1 => format!("a/file-{number}"),
            2 => format!("a/b/c/file-{number}"),
            _ => format!("folder-{}/file-{number}", self.below(5)),
        }
    }
}

/// Edits some files below the root: new ones, changed ones, removed ones.
pub fn edit(files: &Files, now_ns: i64, seed: u64) {
    let mut draw = Draw::new(seed);
    files.set_time(now_ns);
    for _ in 0..=draw.below(6) {
        let there: Vec<_> = files.all().into_iter().collect();
        let one = (!there.is_empty()).then(|| there[draw.below(there.len() as u64) as usize].clone());
        let below = |path: &Path| path.strip_prefix(ROOT).unwrap().to_str().unwrap().to_owned();
        match (draw.below(6), one) {
            (0, Some((path, _))) => files.remove(&path),
            (1, Some((path, content))) => {
                let mut longer = content.to_vec();
                longer.extend(draw.content());
                files.write(&below(&path), longer);
            }
            (2, Some((path, content))) if content.len() > 100 => {
                let mut changed = content.to_vec();
                let at = draw.below(content.len() as u64 - 50) as usize;
                changed[at..at + 50].copy_from_slice(&noise(50, draw.0.next_u64()));
                files.write(&below(&path), changed);
            }
            (3, _) => files.symlink(&format!("link-{}", draw.below(5)), "file-1"),
            _ => files.write(&draw.path(), draw.content()),
        }
    }
}
