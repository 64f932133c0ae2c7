//! What a hub advertises: everybody sees that a Berth hub is there, only a paired laptop sees which.
//!
//! Place: [`Beacons`] -> advertisement -> [`Sighting`]. Bytes: version and flags (1), nonce (8), tag (11), where the tag
//! is the start of HMAC-SHA256(beacon key, label, version and flags, nonce). No clock on either side: the nonce is
//! random and changes every few minutes, and a laptop tries its keys on it.
//! What is not hidden: a recorded beacon can be sent again; it lures a laptop into a handshake that fails.

use std::fmt;
use std::time::Duration;

use berth_radio::{BEACON_SIZE_BYTES, Time};
use hmac::{Hmac, Mac};
use rand_core::CryptoRngCore;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A nonce is used for this long: short enough that a walker-by cannot follow a hub, long enough for slow scanners.
pub const BEACON_PERIOD: Duration = Duration::from_secs(180);

/// While old keys are still in use, old and new take turns this often, so that no laptop waits long for the one it knows.
pub const ALTERNATION_PERIOD: Duration = Duration::from_secs(15);

/// An old key is dropped this long after a revocation, even if a laptop has not visited since.
pub const OLD_KEY_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

const NONCE_SIZE_BYTES: usize = 8;
/// 88 bits: nobody guesses a tag, and no two keys of a laptop give the same one by chance.
const TAG_SIZE_BYTES: usize = BEACON_SIZE_BYTES - 1 - NONCE_SIZE_BYTES;
const LABEL: &[u8] = b"berth beacon 1\0";
/// Upper four bits of the first byte.
const VERSION: u8 = 0x10;
const VERSION_MASK: u8 = 0xf0;
const FLAG_WINDOW_OPEN: u8 = 0x01;

/// Size of a beacon key.
pub const BEACON_KEY_SIZE_BYTES: usize = 32;

/// The secret by which paired laptops recognise a hub. It opens nothing.
#[derive(Clone)]
pub struct BeaconKey(Zeroizing<[u8; BEACON_KEY_SIZE_BYTES]>);

impl BeaconKey {
    /// A new key.
    pub fn generate(rng: &mut dyn CryptoRngCore) -> Self {
        let mut key = Zeroizing::new([0; BEACON_KEY_SIZE_BYTES]);
        rng.fill_bytes(&mut key[..]);
        Self(key)
    }

    /// A key as told by the hub.
    #[must_use]
    pub fn from_bytes(bytes: [u8; BEACON_KEY_SIZE_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// For the message to a laptop.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; BEACON_KEY_SIZE_BYTES]> {
        self.0.clone()
    }

    fn tag(&self, first: u8, nonce: &[u8]) -> [u8; TAG_SIZE_BYTES] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0[..]).expect("HMAC takes a key of any length");
        mac.update(LABEL);
        mac.update(&[first]);
        mac.update(nonce);
        let whole = mac.finalize().into_bytes();
        let mut tag = [0; TAG_SIZE_BYTES];
        tag.copy_from_slice(&whole[..TAG_SIZE_BYTES]);
        tag
    }
}

impl PartialEq for BeaconKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0[..]).into()
    }
}

impl Eq for BeaconKey {}

impl fmt::Debug for BeaconKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BeaconKey(..)")
    }
}

/// The keys a hub advertises under, see [`crate::TrustList::beacon_keys`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeaconKeys {
    /// The key of now.
    pub current: BeaconKey,
    /// Keys of before, newest first, while a trusted laptop goes by them.
    pub previous: Vec<BeaconKey>,
}

/// What a hub advertises, over time.
#[derive(Debug, Default)]
pub struct Beacons {
    shown: Option<Shown>,
}

#[derive(Debug)]
struct Shown {
    beacon: [u8; BEACON_SIZE_BYTES],
    keys: BeaconKeys,
    window_open: bool,
    /// Place of its key: 0 for the current one, 1 for the newest of the previous ones.
    turn: usize,
    until: Time,
}

impl Beacons {
    /// The bytes to advertise now. They change at [`Beacons::next_at`], with the keys, and with the window.
    pub fn at(
        &mut self,
        now: Time,
        keys: &BeaconKeys,
        window_open: bool,
        rng: &mut dyn CryptoRngCore,
    ) -> [u8; BEACON_SIZE_BYTES] {
        if let Some(shown) = &self.shown
            && now < shown.until
            && shown.window_open == window_open
            && shown.keys == *keys
        {
            return shown.beacon;
        }
        let turns = 1 + keys.previous.len();
        // A change of the keys or the window starts with the current key; else the next one takes its turn.
        let turn = match &self.shown {
            Some(shown) if now >= shown.until => (shown.turn + 1) % turns,
            Some(_) | None => 0,
        };
        let key = turn
            .checked_sub(1)
            .and_then(|place| keys.previous.get(place))
            .unwrap_or(&keys.current);
        let period = if keys.previous.is_empty() {
            BEACON_PERIOD
        } else {
            ALTERNATION_PERIOD
        };
        let beacon = make(key, window_open, rng);
        self.shown = Some(Shown {
            beacon,
            keys: keys.clone(),
            window_open,
            turn,
            until: now + period,
        });
        beacon
    }

    /// When the beacon changes by itself.
    #[must_use]
    pub fn next_at(&self) -> Option<Time> {
        self.shown.as_ref().map(|shown| shown.until)
    }
}

fn make(key: &BeaconKey, window_open: bool, rng: &mut dyn CryptoRngCore) -> [u8; BEACON_SIZE_BYTES] {
    let mut beacon = [0; BEACON_SIZE_BYTES];
    let (head, tag) = beacon.split_at_mut(1 + NONCE_SIZE_BYTES);
    let (first, nonce) = head.split_at_mut(1);
    first[0] = VERSION | if window_open { FLAG_WINDOW_OPEN } else { 0 };
    rng.fill_bytes(nonce);
    tag.copy_from_slice(&key.tag(first[0], nonce));
    beacon
}

/// A beacon that was heard. Unpaired devices learn what [`Sighting::is_window_open`] says and no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    beacon: [u8; BEACON_SIZE_BYTES],
}

impl Sighting {
    /// Reads an advertisement. `None`: not a Berth hub, or one of another version.
    #[must_use]
    pub fn of(advertised: &[u8]) -> Option<Self> {
        let beacon = <[u8; BEACON_SIZE_BYTES]>::try_from(advertised).ok()?;
        (beacon[0] & VERSION_MASK == VERSION).then_some(Self { beacon })
    }

    /// The hub says that a person has just opened its pairing window. Anybody can say that.
    #[must_use]
    pub const fn is_window_open(&self) -> bool {
        self.beacon[0] & FLAG_WINDOW_OPEN != 0
    }

    /// Whether the hub with this key may be there. It has proved nothing yet: the handshake does. Takes the same time
    /// whatever the answer is.
    #[must_use]
    pub fn is_of(&self, key: &BeaconKey) -> bool {
        let (head, tag) = self.beacon.split_at(1 + NONCE_SIZE_BYTES);
        key.tag(head[0], &head[1..]).ct_eq(tag).into()
    }

    /// The place of the first key that this beacon is of. Every key is tried, so that the time tells nothing but their
    /// number.
    #[must_use]
    pub fn recognise<'a>(&self, keys: impl IntoIterator<Item = &'a BeaconKey>) -> Option<usize> {
        let mut found = None;
        for (place, key) in keys.into_iter().enumerate() {
            let is_of = self.is_of(key);
            found = found.or(is_of.then_some(place));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;

    fn key(byte: u8) -> BeaconKey {
        BeaconKey::from_bytes([byte; BEACON_KEY_SIZE_BYTES])
    }

    fn keys(byte: u8) -> BeaconKeys {
        BeaconKeys {
            current: key(byte),
            previous: Vec::new(),
        }
    }

    fn rng() -> ChaCha20Rng {
        ChaCha20Rng::seed_from_u64(1)
    }

    fn sighting(byte: u8, window_open: bool) -> Sighting {
        let beacon = Beacons::default().at(Time::ZERO, &keys(byte), window_open, &mut rng());
        Sighting::of(&beacon).unwrap()
    }

    #[test]
    fn a_paired_laptop_recognises_its_hub_and_nobody_else_does() {
        let seen = sighting(1, false);
        assert!(seen.is_of(&key(1)) && !seen.is_of(&key(2)));
        assert_eq!(seen.recognise([&key(3), &key(1), &key(2)]), Some(1));
        assert_eq!(seen.recognise([&key(3), &key(2)]), None);
        assert_eq!(seen.recognise([]), None);
    }

    #[test]
    fn everybody_sees_whether_the_window_is_open() {
        assert!(sighting(1, true).is_window_open());
        assert!(!sighting(1, false).is_window_open());
        assert!(sighting(1, true).is_of(&key(1)));
    }

    #[test]
    fn a_beacon_with_any_bit_changed_is_not_recognised() {
        let beacon = sighting(1, true).beacon;
        for bit in 0..8 * beacon.len() {
            let mut changed = beacon;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(
                !Sighting::of(&changed).is_some_and(|seen| seen.is_of(&key(1))),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn what_is_no_beacon_is_left_alone() {
        for advertised in [
            &[][..],
            &[0x10; BEACON_SIZE_BYTES - 1],
            &[0x20; BEACON_SIZE_BYTES],
            &[0x10; 21],
        ] {
            assert_eq!(Sighting::of(advertised), None);
        }
    }

    #[test]
    fn a_beacon_changes_every_few_minutes_with_the_window_and_with_the_keys() {
        let (mut beacons, mut rng) = (Beacons::default(), rng());
        let first = beacons.at(Time::ZERO, &keys(1), false, &mut rng);
        let just_before = BEACON_PERIOD - Duration::from_millis(1);
        assert_eq!(beacons.at(just_before, &keys(1), false, &mut rng), first);
        assert_eq!(beacons.next_at(), Some(BEACON_PERIOD));
        let second = beacons.at(BEACON_PERIOD, &keys(1), false, &mut rng);
        let third = beacons.at(BEACON_PERIOD, &keys(1), true, &mut rng);
        let fourth = beacons.at(BEACON_PERIOD, &keys(2), true, &mut rng);
        for (one, other) in [(first, second), (second, third), (third, fourth)] {
            assert!(
                one[1..=NONCE_SIZE_BYTES] != other[1..=NONCE_SIZE_BYTES],
                "a nonce was used again"
            );
        }
        assert!(Sighting::of(&fourth).unwrap().is_of(&key(2)));
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", key(0x41)), "BeaconKey(..)");
    }
}
