//! One record of the trust file, 256 bytes.
//!
//! ```text
//! 0    "BTR1"                 8   number from 0 (8)       56   Noise key (32)         121  name (63)
//! 4    kind                   16  wall clock, ns (8)      88   beacon key (32)        184  zero
//! 5    role                   24  device key (32)         120  beacon key is there    224  checksum (32)
//! 6    length of the name
//! ```
//! Numbers are little-endian. Checksum: SHA-256 of the checksum before (zero for the first record) and bytes 0 to 223,
//! so that a record cannot be left out, moved or changed unseen.

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{BeaconKey, DeviceId, NAME_SIZE_BYTES_MAX, Name, NoiseKey, Peer, Role};

/// Size of every record.
pub(crate) const RECORD_SIZE_BYTES: usize = 256;

const MAGIC: &[u8; 4] = b"BTR1";
const CHECKSUM_AT: usize = 224;
const NAME_AT: usize = 121;

pub(crate) type Checksum = [u8; 32];

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// The file begins.
    Begun,
    /// The record before this one was synced.
    Synced,
    /// A device was paired (again).
    Paired(Peer),
    /// A device was revoked; a hub takes a new beacon key with it.
    Revoked {
        device: DeviceId,
        own: Option<BeaconKey>,
    },
    /// This hub's beacon key.
    OwnBeacon(BeaconKey),
    /// The beacon key that a peer and this device agree on.
    Beacon { device: DeviceId, key: BeaconKey },
}

const KIND_BEGUN: u8 = 0;
const KIND_PAIRED: u8 = 1;
const KIND_REVOKED: u8 = 2;
const KIND_OWN_BEACON: u8 = 3;
const KIND_BEACON: u8 = 4;
const KIND_SYNCED: u8 = 5;

/// Writes a record; returns its checksum.
pub(crate) fn encode(
    change: &Change,
    number: u64,
    at_ns: i64,
    before: &Checksum,
    out: &mut Vec<u8>,
) -> Checksum {
    let mut record = Zeroizing::new([0; RECORD_SIZE_BYTES]);
    let (kind, device, peer, beacon) = match change {
        Change::Begun => (KIND_BEGUN, None, None, None),
        Change::Synced => (KIND_SYNCED, None, None, None),
        Change::Paired(peer) => (KIND_PAIRED, Some(&peer.device), Some(peer), peer.beacon.as_ref()),
        Change::Revoked { device, own } => (KIND_REVOKED, Some(device), None, own.as_ref()),
        Change::OwnBeacon(key) => (KIND_OWN_BEACON, None, None, Some(key)),
        Change::Beacon { device, key } => (KIND_BEACON, Some(device), None, Some(key)),
    };
    record[..4].copy_from_slice(MAGIC);
    record[4] = kind;
    record[8..16].copy_from_slice(&number.to_le_bytes());
    record[16..24].copy_from_slice(&at_ns.to_le_bytes());
    if let Some(device) = device {
        record[24..56].copy_from_slice(&device.0);
    }
    if let Some(peer) = peer {
        let name = peer.name.as_str().as_bytes();
        record[5] = peer.role.to_byte();
        record[6] = u8::try_from(name.len()).expect("a name is shorter than 64 bytes");
        record[56..88].copy_from_slice(&peer.noise.0);
        record[NAME_AT..NAME_AT + name.len()].copy_from_slice(name);
    }
    if let Some(beacon) = beacon {
        record[88..120].copy_from_slice(&beacon.to_bytes()[..]);
        record[120] = 1;
    }
    let checksum = checksum(before, &record);
    record[CHECKSUM_AT..].copy_from_slice(&checksum);
    out.extend_from_slice(&record[..]);
    checksum
}

/// Reads a record; `None` if it is not the record `number` after one with the checksum `before`.
pub(crate) fn decode(
    record: &[u8; RECORD_SIZE_BYTES],
    number: u64,
    before: &Checksum,
) -> Option<(Change, i64, Checksum)> {
    let checksum = checksum(before, record);
    if record[CHECKSUM_AT..] != checksum || record[..4] != MAGIC[..] || record[8..16] != number.to_le_bytes()
    {
        return None;
    }
    let at_ns = i64::from_le_bytes(*record[16..].first_chunk()?);
    let device = DeviceId(*record[24..].first_chunk()?);
    let beacon = (record[120] == 1)
        .then(|| record[88..].first_chunk().copied().map(BeaconKey::from_bytes))
        .flatten();
    let change = match record[4] {
        KIND_BEGUN => Change::Begun,
        KIND_SYNCED => Change::Synced,
        KIND_PAIRED => {
            let name = record.get(NAME_AT..NAME_AT + usize::from(record[6]).min(NAME_SIZE_BYTES_MAX))?;
            Change::Paired(Peer {
                device,
                noise: NoiseKey(*record[56..].first_chunk()?),
                role: Role::from_byte(record[5])?,
                name: Name::parse(std::str::from_utf8(name).ok()?).ok()?,
                beacon,
            })
        }
        KIND_REVOKED => Change::Revoked { device, own: beacon },
        KIND_OWN_BEACON => Change::OwnBeacon(beacon?),
        KIND_BEACON => Change::Beacon { device, key: beacon? },
        _ => return None,
    };
    Some((change, at_ns, checksum))
}

fn checksum(before: &Checksum, record: &[u8; RECORD_SIZE_BYTES]) -> Checksum {
    Sha256::new()
        .chain_update(before)
        .chain_update(&record[..CHECKSUM_AT])
        .finalize()
        .into()
}
