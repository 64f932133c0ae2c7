//! Vectors of cacophony (`cacophony.json`, as distributed with snow), and what seeds and bad keys do.

use data_encoding::HEXLOWER;
use rand_chacha::ChaCha20Rng;
use rand_core::impls::{next_u32_via_fill, next_u64_via_fill};
use rand_core::{CryptoRng, RngCore, SeedableRng};
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    protocol_name: String,
    init_prologue: String,
    init_ephemeral: String,
    init_static: Option<String>,
    init_remote_static: Option<String>,
    #[serde(default)]
    init_psks: Vec<String>,
    resp_ephemeral: String,
    resp_static: Option<String>,
    handshake_hash: String,
    messages: Vec<VectorMessage>,
}

#[derive(Deserialize)]
struct VectorMessage {
    payload: String,
    ciphertext: String,
}

/// Gives the bytes it was made of.
struct Given(Vec<u8>);

impl RngCore for Given {
    fn next_u32(&mut self) -> u32 {
        next_u32_via_fill(self)
    }
    fn next_u64(&mut self) -> u64 {
        next_u64_via_fill(self)
    }
    fn fill_bytes(&mut self, dest: &mut [u8]) {
        dest.copy_from_slice(&self.0.drain(..dest.len()).collect::<Vec<_>>());
    }
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl CryptoRng for Given {}

fn bytes(hex: &str) -> Vec<u8> {
    HEXLOWER.decode(hex.as_bytes()).unwrap()
}

fn key(hex: &str) -> [u8; 32] {
    bytes(hex).try_into().unwrap()
}

#[test]
fn handshakes_and_channels_speak_the_published_vectors() {
    let vectors: Vectors = serde_json::from_str(include_str!("cacophony.json")).unwrap();
    assert_eq!(vectors.vectors.len(), 5);
    for vector in vectors.vectors {
        check(&vector);
    }
}

fn check(vector: &Vector) {
    let cipher = if vector.protocol_name.contains("AESGCM") {
        CipherKind::AesGcm
    } else {
        CipherKind::ChaChaPoly
    };
    let psk = vector.init_psks.first().map(|psk| key(psk));
    let build = |side, own: &Option<String>, remote: &Option<String>, ephemeral: &str| {
        let own = own.as_deref().map(key);
        let remote = remote.as_deref().map(|remote| NoiseKey(key(remote)));
        let keys = Keys {
            own: own.as_ref(),
            remote: remote.as_ref(),
            psk: psk.as_ref(),
        };
        let prologue = bytes(&vector.init_prologue);
        let mut rng = Given(bytes(ephemeral));
        Handshake::named(&vector.protocol_name, cipher, side, &keys, &prologue, &mut rng).unwrap()
    };
    let mut sides = [
        build(
            Side::Initiator,
            &vector.init_static,
            &vector.init_remote_static,
            &vector.init_ephemeral,
        ),
        build(
            Side::Responder,
            &vector.resp_static,
            &None,
            &vector.resp_ephemeral,
        ),
    ];
    let mut messages = vector.messages.iter().enumerate();
    for (place, message) in messages.by_ref() {
        let written = sides[place % 2].write(&bytes(&message.payload)).unwrap();
        assert_eq!(
            HEXLOWER.encode(&written),
            message.ciphertext,
            "{} {place}",
            vector.protocol_name
        );
        assert_eq!(
            sides[(place + 1) % 2].read(&written).unwrap()[..],
            bytes(&message.payload)
        );
        if sides[place % 2].state.is_handshake_finished() {
            break;
        }
    }
    let mut channels = sides.map(|side| side.into_channel().unwrap());
    let mut count = 0;
    for (place, message) in messages {
        let sealed = channels[place % 2].seal(&bytes(&message.payload)).unwrap();
        assert_eq!(
            HEXLOWER.encode(&sealed),
            message.ciphertext,
            "{} {place}",
            vector.protocol_name
        );
        assert_eq!(
            channels[(place + 1) % 2].open(&sealed).unwrap(),
            bytes(&message.payload)
        );
        assert_eq!(
            HEXLOWER.encode(channels[place % 2].handshake_hash()),
            vector.handshake_hash
        );
        count += 1;
    }
    assert!(count >= 3, "no transport messages in {}", vector.protocol_name);
}

#[test]
fn the_same_seed_gives_the_same_message_and_another_seed_another() {
    let first = |seed| {
        let keys = Keys {
            psk: Some(&[7; 32]),
            ..Keys::default()
        };
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let pattern = Pattern::Link(CipherKind::ChaChaPoly);
        let mut handshake = Handshake::new(pattern, Side::Initiator, &keys, b"", &mut rng).unwrap();
        handshake.write(&[]).unwrap()
    };
    assert_eq!(first(1), first(1));
    assert_ne!(first(1), first(2));
}

#[test]
fn an_ephemeral_key_is_drawn_once_only() {
    let mut key = OneKey(Some(Zeroizing::new([7; 32])));
    let mut drawn = [0; 32];
    key.try_fill_bytes(&mut drawn).unwrap();
    assert_eq!(drawn, [7; 32]);
    assert_eq!(key.try_fill_bytes(&mut drawn), Err(snow::Error::Rng));
}

#[test]
fn a_point_of_low_order_is_refused() {
    let mut dh = X25519::default();
    dh.set(&[7; 32]);
    let mut out = [0; 32];
    let mut one = [0; 32];
    one[0] = 1;
    for point in [[0; 32], one] {
        assert_eq!(dh.dh(&point, &mut out), Err(snow::Error::Dh));
    }
    assert_eq!(dh.dh(&[9; 31], &mut out), Err(snow::Error::Dh));
}

/// Answers a link's handshake with snow alone, without anything of ours.
#[test]
fn a_channel_goes_through_rekeying_in_step_with_snow() {
    for (cipher, name) in [
        (CipherKind::ChaChaPoly, "Noise_NNpsk0_25519_ChaChaPoly_SHA256"),
        (CipherKind::AesGcm, "Noise_NNpsk0_25519_AESGCM_SHA256"),
    ] {
        let keys = Keys {
            psk: Some(&[7; 32]),
            ..Keys::default()
        };
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let mut ours = Handshake::new(Pattern::Link(cipher), Side::Initiator, &keys, b"", &mut rng).unwrap();
        let mut theirs = Builder::new(name.parse().unwrap())
            .psk(0, &[7; 32])
            .unwrap()
            .build_responder()
            .unwrap();
        let mut buffer = [0; 256];
        theirs
            .read_message(&ours.write(&[]).unwrap(), &mut buffer)
            .unwrap();
        let length = theirs.write_message(&[], &mut buffer).unwrap();
        ours.read(&buffer[..length]).unwrap();
        let mut ours = ours.into_channel().unwrap();
        let mut theirs = theirs.into_transport_mode().unwrap();

        for number in 1..=2 * crate::REKEY_AFTER_MESSAGES + 1 {
            let said = number.to_le_bytes();
            let length = theirs
                .read_message(&ours.seal(&said).unwrap(), &mut buffer)
                .unwrap();
            assert_eq!(buffer[..length], said, "{number} to snow");
            let length = theirs.write_message(&said, &mut buffer).unwrap();
            assert_eq!(
                ours.open(&buffer[..length]).unwrap(),
                &said[..],
                "{number} from snow"
            );
            if number % crate::REKEY_AFTER_MESSAGES == 0 {
                theirs.rekey_incoming();
                theirs.rekey_outgoing();
            }
        }
    }
}
