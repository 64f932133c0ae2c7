//! What the records of a trust file add up to.

use std::collections::BTreeMap;

use super::PEERS_MAX;
use super::record::Change;
use crate::{BeaconKey, DeviceId, NoiseKey, Peer};

/// Whom the file names, and the hub's own beacon keys.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) devices: BTreeMap<DeviceId, Known>,
    pub(super) by_noise: BTreeMap<NoiseKey, DeviceId>,
    pub(super) own: Option<BeaconKey>,
    /// Own keys of before with the time when they were replaced, newest first.
    pub(super) old: Vec<(BeaconKey, i64)>,
}

/// A device that was ever paired.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) peer: Peer,
    pub(super) paired_at_ns: i64,
    pub(super) is_revoked: bool,
}

impl State {
    /// Takes in a record, in the order of the file.
    pub(super) fn apply(&mut self, change: Change, at_ns: i64) {
        match change {
            Change::Begun | Change::Synced => {}
            Change::Paired(peer) => {
                let device = peer.device;
                let noise = peer.noise;
                let known = Known {
                    peer,
                    paired_at_ns: at_ns,
                    is_revoked: false,
                };
                if let Some(before) = self.devices.insert(device, known)
                    && self.by_noise.get(&before.peer.noise) == Some(&device)
                {
                    self.by_noise.remove(&before.peer.noise);
                }
                self.by_noise.insert(noise, device);
            }
            Change::Revoked { device, own } => {
                if let Some(known) = self.devices.get_mut(&device) {
                    known.is_revoked = true;
                    known.peer.beacon = None;
                }
                if let Some(own) = own {
                    self.take_own(own, at_ns);
                }
            }
            Change::OwnBeacon(own) => self.take_own(own, at_ns),
            Change::Beacon { device, key } => {
                if let Some(known) = self.devices.get_mut(&device).filter(|known| !known.is_revoked) {
                    known.peer.beacon = Some(key);
                }
            }
        }
    }

    fn take_own(&mut self, own: BeaconKey, at_ns: i64) {
        if let Some(before) = self.own.replace(own) {
            self.old.insert(0, (before, at_ns));
            self.old.truncate(PEERS_MAX);
        }
    }
}
