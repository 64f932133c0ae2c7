//! What comes over the air before anybody has proved anything: beacons, certificates, codes, first messages.
#![no_main]

use std::sync::Arc;
use std::time::Duration;

use berth_pairing::{
    BeaconKey, Certificate, CipherKind, HubHandshake, HubLink, HubPairing, Identity, Input, LinkToken, Name,
    Opening, PairingCode, Sighting, Window,
};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

fuzz_target!(|data: &[u8]| {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let identity = Arc::new(Identity::generate(&mut rng));
    let key = BeaconKey::from_bytes([1; 32]);
    let _ = Certificate::from_bytes(data);
    if let Some(sighting) = Sighting::of(data) {
        let _ = sighting.recognise([&key]);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = PairingCode::parse(text);
    }
    let _ = Opening::of(data);
    let _ = HubHandshake::answer(&identity, data, true, &mut rng);
    let _ =
        HubLink::new(LinkToken::from_bytes([2; 32]), &[3; 32], CipherKind::ChaChaPoly).answer(data, &mut rng);
    // The first byte tells how long a first message is; the second is the rest.
    if let Some((&length, rest)) = data.split_first() {
        let (first, second) = rest.split_at(rest.len().min(length.into()));
        let (mut window, mut out) = (Window::default(), Vec::new());
        let _ = window.open(Duration::ZERO, &mut rng);
        let mut hub = HubPairing::new(identity, Name::reduce("hub"), key, Duration::ZERO);
        for message in [first, second] {
            let input = Input::Message(Bytes::copy_from_slice(message));
            hub.handle(Duration::ZERO, input, &mut window, &mut rng, &mut out);
        }
    }
});
