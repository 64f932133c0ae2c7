//! Since when the upstream is the one that it is: what another one has confirmed is not removed here.

use anyhow::{Context, Result};
use berth_disk::Disk;
use berth_repository::Id;

/// File in the state folder: SHA-256 of the upstream's name, and nanoseconds since 1970.
const STORED: &str = "upstream-since";

const SIZE_BYTES_MAX: u64 = 256;

/// Since when this is the upstream, nanoseconds since 1970. The first one that a hub ever had: since always.
///
/// # Errors
/// It could not be read or stored: then it counts from now on.
pub(crate) fn upstream_since(disk: &dyn Disk, upstream: &str, now_ns: i64) -> Result<i64> {
    let id = Id::of(upstream.as_bytes());
    let since_ns = match disk.read(STORED, SIZE_BYTES_MAX) {
        Ok(stored) => match read(&stored) {
            Some((stored, since_ns)) if stored == id => return Ok(since_ns),
            Some(_) | None => now_ns,
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error).context("reading since when the upstream is this one"),
    };
    berth_disk::replace(disk, STORED, format!("{id} {since_ns}\n").as_bytes())
        .context("storing since when the upstream is this one")?;
    Ok(since_ns)
}

fn read(stored: &[u8]) -> Option<(Id, i64)> {
    let (id, since_ns) = std::str::from_utf8(stored).ok()?.trim_end().split_once(' ')?;
    Some((Id::from_hex(id)?, since_ns.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use berth_disk::OsDisk;

    use super::*;

    #[test]
    fn another_upstream_counts_from_the_moment_in_which_it_is_first_seen() {
        let folder = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(folder.path()).unwrap();
        let since = |upstream, now_ns| upstream_since(&disk, upstream, now_ns).unwrap();
        assert_eq!(since("/a", 100), 0);
        assert_eq!(since("/a", 200), 0);
        assert_eq!(since("/b", 300), 300);
        assert_eq!(since("/b", 400), 300);
        // The first one again: it may have lost something meanwhile.
        assert_eq!(since("/a", 500), 500);
        std::fs::write(folder.path().join(STORED), "garbage").unwrap();
        assert_eq!(since("/a", 600), 600);
    }
}
