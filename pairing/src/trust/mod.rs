//! Whom this device trusts: an append-only file of its own, never rebuilt from anything else.
//!
//! Place: the ceremony adds to it, every session asks it, `berthctl revoke` takes away. Laptop and hub use the same file
//! format: a laptop lists its hubs, a hub its laptops and its own beacon keys.
//! Invariant: a change is durable before its call returns, and a revoked device is refused until it is paired again.
//! What a power cut left half-written was never reported as done and is cut off; any other damage refuses everybody
//! ([`TrustError::Damaged`]) rather than revive a revoked device.
//!
//! To tell the two apart, every change is a record of its own, synced, followed by a record that says so, synced too:
//! only the last record of the file can be half-written, and a change with another record behind it was synced. A
//! change without one behind it may be, so it is written again.
//! Media: what was not synced may be missing, cut anywhere, zeros or garbage; what was synced stays, but for bits that
//! rot.

mod error;
mod record;
mod state;
#[cfg(test)]
mod tests;

use berth_disk::{Disk, DiskFile, SharedDisk, parent};
use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use crate::beacon::{BeaconKeys, OLD_KEY_MAX};
use crate::{BeaconKey, DeviceId, NoiseKey, Peer, Standing};
pub use error::TrustError;
use record::{Change, Checksum, RECORD_SIZE_BYTES};
use state::State;

/// Trusted devices in one list (DESIGN.md, section 7).
pub const PEERS_MAX: usize = 1_000;

/// Records in one file, two for each change: 8 MiB. Room for revoking every device is kept free.
pub const RECORDS_MAX: u64 = 32_768;

/// Old beacon keys that take turns with the current one: more revocations than that within a month leave laptops that
/// were away to be found by `--via`, or to be paired again.
pub const OLD_BEACON_KEYS_MAX: usize = 4;

/// The trust list. See the module's header.
pub struct TrustList {
    disk: SharedDisk,
    path: String,
    file: Box<dyn DiskFile>,
    /// Records that are durable, whole changes only.
    records: u64,
    /// That of the last of them.
    checksum: Checksum,
    /// The last write failed: what lies behind the durable records is not known.
    is_tail_unknown: bool,
    /// Revocations that hold but could not be written; they go before the next record.
    unwritten: Vec<(Change, i64)>,
    state: State,
}

impl TrustList {
    /// Opens the list, making an empty one where no file is. Cuts off a record that a power cut left behind.
    ///
    /// # Errors
    /// [`TrustError::Damaged`], [`TrustError::Disk`]: trust nobody.
    pub fn open(disk: SharedDisk, path: &str) -> Result<Self, TrustError> {
        let size_bytes = match disk.len(path)? {
            Some(size_bytes) => size_bytes,
            None => create(&*disk, path)?,
        };
        if size_bytes > RECORDS_MAX * RECORD_SIZE_BYTES as u64 {
            return Err(TrustError::Damaged { record: RECORDS_MAX });
        }
        let bytes = Zeroizing::new(disk.read(path, size_bytes)?);
        let mut list = Self {
            file: disk.open(path)?,
            disk,
            path: path.to_owned(),
            records: 0,
            checksum: [0; 32],
            is_tail_unknown: false,
            unwritten: Vec::new(),
            state: State::default(),
        };
        let unmarked = list.replay(&bytes)?;
        list.is_tail_unknown = list.records * RECORD_SIZE_BYTES as u64 != bytes.len() as u64;
        list.cut_tail()?;
        match unmarked {
            Some((change, at_ns)) => list.commit(change, at_ns)?,
            None if list.records == 0 => {
                // Whoever made the file may have been killed before its name was durable.
                list.disk.sync_dir(parent(path))?;
                list.commit(Change::Begun, 0)?;
            }
            None => {}
        }
        Ok(list)
    }

    /// Takes in what the file says. Returns a last change that nothing says was synced.
    fn replay(&mut self, bytes: &[u8]) -> Result<Option<(Change, i64)>, TrustError> {
        let (records, cut) = bytes.as_chunks::<RECORD_SIZE_BYTES>();
        let (mut number, mut before) = (0, self.checksum);
        let mut unmarked = None;
        for (place, bytes) in records.iter().enumerate() {
            let Some((change, at_ns, checksum)) = record::decode(bytes, number, &before) else {
                let is_last = place + 1 == records.len() && cut.is_empty();
                return if is_last {
                    Ok(unmarked)
                } else {
                    Err(TrustError::Damaged { record: number })
                };
            };
            (number, before) = (number + 1, checksum);
            match (change, unmarked.take()) {
                (Change::Synced, Some((change, at_ns))) => {
                    self.state.apply(change, at_ns);
                    (self.records, self.checksum) = (number, checksum);
                }
                (Change::Synced, None) | (_, Some(_)) => {
                    return Err(TrustError::Damaged { record: number - 1 });
                }
                (change, None) => unmarked = Some((change, at_ns)),
            }
        }
        Ok(unmarked)
    }

    /// Trusts a peer from now on, revoked before or not; its former keys and name are replaced. Durable on return.
    ///
    /// # Errors
    /// [`TrustError::TooMany`], [`TrustError::Full`]: the peer is not trusted. [`TrustError::Disk`]: it is not, but may be
    /// after a restart.
    pub fn pair(&mut self, peer: &Peer, at_ns: i64) -> Result<(), TrustError> {
        let is_new = !matches!(self.state.devices.get(&peer.device), Some(known) if !known.is_revoked);
        if is_new && self.peers().count() >= PEERS_MAX {
            return Err(TrustError::TooMany);
        }
        self.check_room()?;
        self.commit(Change::Paired(peer.clone()), at_ns)
    }

    /// Refuses a device from now on; a hub takes a new beacon key, so that the device cannot recognise it either. Durable
    /// on return.
    ///
    /// # Errors
    /// [`TrustError::UnknownDevice`]: nothing to revoke. [`TrustError::Disk`]: the device is refused until this program
    /// ends, but not durably; every later change tries to write the revocation again.
    pub fn revoke(
        &mut self,
        device: &DeviceId,
        at_ns: i64,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<(), TrustError> {
        match self.state.devices.get(device) {
            None => return Err(TrustError::UnknownDevice),
            Some(known) if known.is_revoked && self.unwritten.is_empty() => return Ok(()),
            Some(_) => {}
        }
        let change = Change::Revoked {
            device: *device,
            own: self.state.own.is_some().then(|| BeaconKey::generate(rng)),
        };
        let written = self.commit(change.clone(), at_ns);
        if written.is_err() {
            self.state.apply(change.clone(), at_ns);
            self.unwritten.push((change, at_ns));
        }
        written
    }

    /// A hub's beacon key, made now if there is none yet. Durable on return.
    ///
    /// # Errors
    /// [`TrustError::Full`], [`TrustError::Disk`]: there is none.
    pub fn ensure_beacon(
        &mut self,
        at_ns: i64,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<BeaconKey, TrustError> {
        if let Some(key) = &self.state.own {
            return Ok(key.clone());
        }
        self.check_room()?;
        let key = BeaconKey::generate(rng);
        self.commit(Change::OwnBeacon(key.clone()), at_ns)?;
        Ok(key)
    }

    /// A laptop has learned from its hub, or a hub has told its laptop (and the laptop has said so), that this is the
    /// hub's beacon key. Durable on return; nothing is written where nothing changes.
    ///
    /// # Errors
    /// [`TrustError::UnknownDevice`]: not a trusted device. [`TrustError::Full`], [`TrustError::Disk`]: as before.
    pub fn set_beacon(&mut self, device: &DeviceId, key: &BeaconKey, at_ns: i64) -> Result<(), TrustError> {
        let peer = self.peer(device).ok_or(TrustError::UnknownDevice)?;
        if peer.beacon.as_ref() == Some(key) {
            return Ok(());
        }
        self.check_room()?;
        self.commit(
            Change::Beacon {
                device: *device,
                key: key.clone(),
            },
            at_ns,
        )
    }

    /// The keys that a hub advertises under: its own, and older ones (at most [`OLD_BEACON_KEYS_MAX`], replaced less than
    /// 30 days ago) that a trusted laptop still goes by. `None` before [`TrustList::ensure_beacon`].
    #[must_use]
    pub fn beacon_keys(&self, now_ns: i64) -> Option<BeaconKeys> {
        let current = self.state.own.clone()?;
        let limit_ns = i64::try_from(OLD_KEY_MAX.as_nanos()).unwrap_or(i64::MAX);
        let previous = self
            .state
            .old
            .iter()
            .filter(|(key, replaced_at_ns)| {
                now_ns.saturating_sub(*replaced_at_ns) < limit_ns
                    && self.peers().any(|peer| peer.beacon.as_ref() == Some(key))
            })
            .map(|(key, _)| key.clone())
            .take(OLD_BEACON_KEYS_MAX)
            .collect();
        Some(BeaconKeys { current, previous })
    }

    /// What this list says of a Noise key.
    #[must_use]
    pub fn standing_of(&self, noise: &NoiseKey) -> Standing {
        let known = self
            .state
            .by_noise
            .get(noise)
            .and_then(|device| self.state.devices.get(device));
        match known {
            Some(known) if known.is_revoked => Standing::Revoked(known.peer.device),
            Some(known) => Standing::Trusted(known.peer.clone()),
            None => Standing::Unknown,
        }
    }

    /// A trusted peer.
    #[must_use]
    pub fn peer(&self, device: &DeviceId) -> Option<&Peer> {
        let known = self.state.devices.get(device)?;
        (!known.is_revoked).then_some(&known.peer)
    }

    /// Every trusted peer, in the order of their ids.
    pub fn peers(&self) -> impl Iterator<Item = &Peer> {
        let known = self.state.devices.values();
        known.filter(|known| !known.is_revoked).map(|known| &known.peer)
    }

    /// When a trusted peer was paired (last), nanoseconds since 1970.
    #[must_use]
    pub fn paired_at_ns(&self, device: &DeviceId) -> Option<i64> {
        let known = self.state.devices.get(device)?;
        (!known.is_revoked).then_some(known.paired_at_ns)
    }

    /// Every device that was revoked and not paired again, in the order of their ids.
    pub fn revoked(&self) -> impl Iterator<Item = &Peer> {
        let known = self.state.devices.values();
        known.filter(|known| known.is_revoked).map(|known| &known.peer)
    }

    fn check_room(&self) -> Result<(), TrustError> {
        if self.records + 2 * (PEERS_MAX as u64 + 1) > RECORDS_MAX {
            return Err(TrustError::Full);
        }
        Ok(())
    }

    fn commit(&mut self, change: Change, at_ns: i64) -> Result<(), TrustError> {
        self.cut_tail()?;
        while let Some((change, at_ns)) = self.unwritten.first().cloned() {
            self.write(&change, at_ns)?;
            self.unwritten.remove(0);
        }
        self.write(&change, at_ns)?;
        self.state.apply(change, at_ns);
        Ok(())
    }

    fn write(&mut self, change: &Change, at_ns: i64) -> Result<(), TrustError> {
        if self.records + 2 > RECORDS_MAX {
            return Err(TrustError::Full);
        }
        let (mut records, mut checksum) = (self.records, self.checksum);
        self.is_tail_unknown = true;
        for change in [change, &Change::Synced] {
            let mut bytes = Zeroizing::new(Vec::with_capacity(RECORD_SIZE_BYTES));
            checksum = record::encode(change, records, at_ns, &checksum, &mut bytes);
            self.file.append(&bytes)?;
            self.file.sync()?;
            records += 1;
        }
        (self.records, self.checksum) = (records, checksum);
        self.is_tail_unknown = false;
        Ok(())
    }

    /// Leaves nothing behind the durable records.
    fn cut_tail(&mut self) -> Result<(), TrustError> {
        if self.is_tail_unknown {
            // After a failed sync the open file may hide what the disk has: look at it afresh.
            self.file = self.disk.open(&self.path)?;
            self.file.truncate(self.records * RECORD_SIZE_BYTES as u64)?;
            self.file.sync()?;
            self.is_tail_unknown = false;
        }
        Ok(())
    }
}

fn create(disk: &dyn Disk, path: &str) -> Result<u64, TrustError> {
    let folder = parent(path);
    if !folder.is_empty() {
        disk.create_dir(folder)?;
        disk.sync_dir(parent(folder))?;
    }
    disk.create(path)?.sync()?;
    Ok(0)
}

impl std::fmt::Debug for TrustList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrustList")
            .field("path", &self.path)
            .field("records", &self.records)
            .field("trusted", &self.peers().count())
            .finish_non_exhaustive()
    }
}
