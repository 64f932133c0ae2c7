//! The mode of a file as Go has it, which is what restic writes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Permissions and type in Go's `os.FileMode` bits, which are not those of Unix above the lowest nine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct FileMode(u32);

/// Go's bit, and the bits of Unix for the same.
const SETUID: (u32, u32) = (1 << 23, 0o4000);
const SETGID: (u32, u32) = (1 << 22, 0o2000);
const STICKY: (u32, u32) = (1 << 20, 0o1000);
const PERMISSIONS: u32 = 0o777;

/// Go's bits of a type, and the value under [`UNIX_TYPE`] for the same.
const TYPES: [(u32, u32); 7] = [
    (0, 0o100_000),                 // file
    (1 << 31, 0o040_000),           // dir
    (1 << 27, 0o120_000),           // symlink
    (1 << 26, 0o060_000),           // block device
    (1 << 26 | 1 << 21, 0o020_000), // character device
    (1 << 25, 0o010_000),           // fifo
    (1 << 24, 0o140_000),           // socket
];
const UNIX_TYPE: u32 = 0o170_000;
const GO_TYPE: u32 = 1 << 31 | 1 << 27 | 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 19;

impl FileMode {
    /// From `st_mode` of `stat`.
    #[must_use]
    pub fn from_unix(st_mode: u32) -> Self {
        let kind = TYPES.iter().find(|(_, unix)| *unix == st_mode & UNIX_TYPE);
        let bits = [SETUID, SETGID, STICKY]
            .iter()
            .filter(|(_, unix)| st_mode & unix != 0)
            .fold(st_mode & PERMISSIONS, |bits, (go, _)| bits | go);
        Self(bits | kind.map_or(0, |(go, _)| *go))
    }

    /// Permissions, setuid, setgid, sticky and type in the bits of `st_mode`.
    #[must_use]
    pub fn to_unix(self) -> u32 {
        let kind = TYPES.iter().find(|(go, _)| *go == self.0 & GO_TYPE);
        [SETUID, SETGID, STICKY]
            .iter()
            .filter(|(go, _)| self.0 & go != 0)
            .fold(self.0 & PERMISSIONS, |bits, (_, unix)| bits | unix)
            | kind.map_or(0, |(_, unix)| *unix)
    }

    /// From Go's bits.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Go's bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }
}

/// As `st_mode`, in octal.
impl fmt::Debug for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileMode({:#o})", self.to_unix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by restic 0.14.
    #[test]
    fn modes_are_those_of_restic() {
        for (unix, go) in [
            (0o104_755, 8_389_101),
            (0o100_644, 420),
            (0o020_644, 69_206_436),
            (0o041_777, 2_148_532_735),
            (0o040_755, 2_147_484_141),
            (0o010_644, 33_554_852),
            (0o120_777, 134_218_239),
        ] {
            assert_eq!(FileMode::from_unix(unix).bits(), go);
            assert_eq!(FileMode::from_bits(go).to_unix(), unix);
        }
    }

    #[test]
    fn every_unix_mode_comes_back() {
        for (_, kind) in TYPES {
            for bits in 0..=0o7777 {
                assert_eq!(FileMode::from_unix(kind | bits).to_unix(), kind | bits);
            }
        }
    }
}
