//! Session handshakes: who is let in, and everybody who is not.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::*;
use crate::{Name, Role};

const BEACON: [u8; BEACON_KEY_SIZE_BYTES] = [0x42; BEACON_KEY_SIZE_BYTES];

/// A laptop and a hub that are paired, and what the hub's trust list says.
struct Paired {
    rng: ChaCha20Rng,
    laptop: Identity,
    hub: Identity,
    laptop_fast_aes: bool,
    hub_fast_aes: bool,
    list: BTreeMap<NoiseKey, Standing>,
}

fn peer(identity: &Identity, role: Role) -> Peer {
    Peer::new(&identity.certificate(role, &Name::reduce("x")), None)
}

impl Paired {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let (laptop, hub) = (Identity::generate(&mut rng), Identity::generate(&mut rng));
        let list = BTreeMap::from([(laptop.noise(), Standing::Trusted(peer(&laptop, Role::Laptop)))]);
        Self {
            rng,
            laptop,
            hub,
            laptop_fast_aes: true,
            hub_fast_aes: true,
            list,
        }
    }

    /// With nobody, one or both of them fast at AES; both are the last.
    fn all(seed: u64) -> [Self; 4] {
        [(false, false), (false, true), (true, false), (true, true)].map(|(laptop_fast_aes, hub_fast_aes)| {
            Self {
                laptop_fast_aes,
                hub_fast_aes,
                ..Self::new(seed)
            }
        })
    }

    fn hello(&self) -> (LaptopHandshake, Bytes) {
        LaptopHandshake::begin(&self.laptop, &peer(&self.hub, Role::Hub), self.laptop_fast_aes)
    }

    fn answer(&mut self, hello: &[u8]) -> Result<(HubHandshake, Bytes), HandshakeError> {
        HubHandshake::answer(&self.hub, hello, self.hub_fast_aes, &mut self.rng)
    }

    /// Up to the laptop's first Noise message.
    fn begin(&mut self) -> (LaptopHandshake, HubHandshake, Bytes) {
        let (mut laptop, hello) = self.hello();
        let (hub, fresh) = self.answer(&hello).unwrap();
        let LaptopStep::Send(first) = laptop.handle(&fresh, &mut self.rng).unwrap() else {
            panic!("done without having proved anything");
        };
        (laptop, hub, first)
    }

    fn finish(&self, hub: HubHandshake, message: &[u8]) -> Result<Admitted, HandshakeError> {
        hub.finish(message, &BeaconKey::from_bytes(BEACON), |noise| {
            self.list.get(noise).cloned().unwrap_or(Standing::Unknown)
        })
    }
}

#[test]
fn paired_devices_get_a_channel_and_know_each_other() {
    for mut paired in Paired::all(1) {
        let (mut laptop, hub, first) = paired.begin();
        let mut admitted = paired.finish(hub, &first).unwrap();
        assert_eq!(admitted.laptop.device, paired.laptop.device());
        assert!(
            !admitted.answer.windows(BEACON.len()).any(|part| part == BEACON),
            "a beacon key in the clear"
        );
        let step = laptop.handle(&admitted.answer, &mut paired.rng).unwrap();
        let LaptopStep::Done { mut channel, beacon } = step else {
            panic!("not done");
        };
        assert!(beacon == BeaconKey::from_bytes(BEACON));
        assert_eq!(channel.handshake_hash(), admitted.channel.handshake_hash());
        assert_eq!(
            admitted.channel.open(&channel.seal(b"up").unwrap()).unwrap(),
            "up"
        );
        assert_eq!(
            channel.open(&admitted.channel.seal(b"down").unwrap()).unwrap(),
            "down"
        );
        assert_eq!(
            laptop.handle(b"", &mut paired.rng).unwrap_err(),
            HandshakeError::Over
        );
    }
}

#[test]
fn a_session_has_the_cipher_that_the_weaker_machine_does_faster() {
    let ciphers = Paired::all(14).map(|mut paired| {
        let (mut laptop, hub, first) = paired.begin();
        let admitted = paired.finish(hub, &first).unwrap();
        let step = laptop.handle(&admitted.answer, &mut paired.rng).unwrap();
        let LaptopStep::Done { channel, .. } = step else {
            panic!("not done");
        };
        assert_eq!(channel.cipher(), admitted.channel.cipher());
        channel.cipher()
    });
    let slow = CipherKind::ChaChaPoly;
    assert_eq!(ciphers, [slow, slow, slow, CipherKind::AesGcm]);
}

#[test]
fn a_cipher_that_was_changed_on_the_way_lets_nobody_in() {
    for mut paired in Paired::all(12) {
        let flipped = |message: &[u8]| {
            let mut flipped = message.to_vec();
            flipped[2] ^= 1;
            flipped
        };
        let is_offered = paired.laptop_fast_aes;
        for at_hello in [true, false] {
            let (mut laptop, hello) = paired.hello();
            let heard = if at_hello { flipped(&hello) } else { hello.to_vec() };
            let (hub, fresh) = paired.answer(&heard).unwrap();
            let heard = if at_hello { fresh.to_vec() } else { flipped(&fresh) };
            match laptop.handle(&heard, &mut paired.rng) {
                Ok(LaptopStep::Send(first)) => {
                    assert_eq!(paired.finish(hub, &first).unwrap_err(), HandshakeError::Stale);
                }
                // AES, which this laptop has not offered.
                Err(error) => assert!(error == HandshakeError::Malformed && heard[2] == 1 && !is_offered),
                Ok(done @ LaptopStep::Done { .. }) => panic!("{done:?}"),
            }
        }
    }
}

#[test]
fn an_unknown_cipher_and_another_length_are_refused() {
    let mut paired = Paired::new(13);
    for hello in [
        &[HELLO, HANDSHAKE_VERSION, 2][..],
        &[HELLO, HANDSHAKE_VERSION, 0xff],
        &[HELLO, HANDSHAKE_VERSION],
        &[HELLO, HANDSHAKE_VERSION, 1, 0],
    ] {
        assert_eq!(paired.answer(hello).unwrap_err(), HandshakeError::Malformed);
    }
    let (_, hello) = paired.hello();
    let (_, fresh) = paired.answer(&hello).unwrap();
    let mut unknown = fresh.to_vec();
    unknown[2] = 2;
    let longer = [&fresh[..], b"\0"].concat();
    for fresh in [&unknown[..], &fresh[..fresh.len() - 1], &longer] {
        let (mut laptop, _) = paired.hello();
        let error = laptop.handle(fresh, &mut paired.rng).unwrap_err();
        assert_eq!(error, HandshakeError::Malformed);
    }
}

#[test]
fn a_replayed_handshake_has_no_effect() {
    for mut paired in Paired::all(2) {
        let (_, hub, recorded) = paired.begin();
        assert!(paired.finish(hub, &recorded).is_ok());
        let (_, hub, _) = paired.begin();
        let error = paired.finish(hub, &recorded).unwrap_err();
        assert_eq!(error, HandshakeError::Stale);
        assert!(error.advice().contains("nobody was let in"), "{}", error.advice());
    }
}

#[test]
fn a_revoked_laptop_is_refused_and_told_what_to_do() {
    let mut paired = Paired::new(3);
    let device = paired.laptop.device();
    paired
        .list
        .insert(paired.laptop.noise(), Standing::Revoked(device));
    let (laptop, hub, first) = paired.begin();
    assert_eq!(
        paired.finish(hub, &first).unwrap_err(),
        HandshakeError::Revoked { device }
    );
    // All it sees is a closed connection.
    let error = laptop.closed();
    assert_eq!(error, HandshakeError::Refused);
    assert!(error.advice().contains("revoked") && error.advice().contains("`berth pair CODE`"));
}

#[test]
fn an_unknown_laptop_is_refused() {
    let mut paired = Paired::new(4);
    paired.list.clear();
    let (_, hub, first) = paired.begin();
    assert_eq!(paired.finish(hub, &first).unwrap_err(), HandshakeError::Unknown);
}

#[test]
fn a_hub_without_the_paired_hubs_key_cannot_answer() {
    let mut paired = Paired::new(5);
    let (mut laptop, _, first) = paired.begin();
    // It can neither read the laptop's key ...
    let foreign = Identity::generate(&mut paired.rng);
    let (_, hello) = paired.hello();
    let (hub, _) = HubHandshake::answer(&foreign, &hello, true, &mut paired.rng).unwrap();
    assert_eq!(paired.finish(hub, &first).unwrap_err(), HandshakeError::Stale);
    // ... nor make an answer.
    let error = laptop.handle(&[7; 48], &mut paired.rng).unwrap_err();
    assert_eq!(error, HandshakeError::ForeignHub);
    assert!(
        error.advice().contains("Do not trust this hub"),
        "{}",
        error.advice()
    );
}

#[test]
fn another_version_is_refused_by_name() {
    let mut paired = Paired::new(6);
    let error = paired.answer(&[HELLO, 2]).unwrap_err();
    assert_eq!(error, HandshakeError::Version { version: 2 });
    assert!(error.advice().contains("Update"));
    let (mut laptop, _) = paired.hello();
    let error = laptop.handle(&[FRESH, 2], &mut paired.rng).unwrap_err();
    assert_eq!(error, HandshakeError::Version { version: 2 });
}

#[test]
fn a_first_message_says_what_a_connection_is_for() {
    assert_eq!(Opening::of(&hello(true)), Some(Opening::Session));
    assert_eq!(Opening::of(&[0x02, 1, 0x41]), Some(Opening::Pairing));
    assert_eq!(Opening::of(&[]), None);
    assert_eq!(Opening::of(&[0x16, 3, 1]), None);
}

#[test]
fn the_laptops_key_does_not_travel_in_the_clear() {
    let mut paired = Paired::new(7);
    let (_, _, first) = paired.begin();
    let noise = paired.laptop.noise().0;
    assert!(!first.windows(noise.len()).any(|window| window == noise));
}

#[test]
fn the_same_seed_gives_the_same_handshake() {
    let run = |seed| {
        let mut paired = Paired::new(seed);
        let (_, hub, first) = paired.begin();
        (first.clone(), paired.finish(hub, &first).unwrap().answer)
    };
    assert_eq!(run(8), run(8));
    assert_ne!(run(8), run(9));
}

proptest! {
    #[test]
    fn a_changed_message_lets_nobody_in(at in 0..4_u8, place in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let mut paired = Paired::new(10);
        let change = |message: &Bytes, now| {
            let mut changed = message.to_vec();
            if at == now {
                changed[place.index(message.len())] ^= 1 << bit;
            }
            changed
        };
        let (mut laptop, hello) = paired.hello();
        let done = (|| {
            let (hub, fresh) = paired.answer(&change(&hello, 0))?;
            let LaptopStep::Send(first) = laptop.handle(&change(&fresh, 1), &mut paired.rng)? else {
                return Err(HandshakeError::Malformed);
            };
            let admitted = paired.finish(hub, &change(&first, 2))?;
            laptop.handle(&change(&admitted.answer, 3), &mut paired.rng)
        })();
        prop_assert!(done.is_err());
    }

    #[test]
    fn nonsense_lets_nobody_in(nonsense in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut paired = Paired::new(11);
        let (mut laptop, hub, _) = paired.begin();
        prop_assert!(paired.finish(hub, &nonsense).is_err());
        prop_assert!(laptop.handle(&nonsense, &mut paired.rng).is_err());
        if ![false, true].map(hello).iter().any(|hello| nonsense == hello) {
            prop_assert!(paired.answer(&nonsense).is_err());
        }
    }
}
