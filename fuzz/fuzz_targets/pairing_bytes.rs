//! What comes over the air before anybody has proved anything: beacons, certificates, codes, first messages.
#![no_main]

use berth_pairing::{BeaconKey, Certificate, Opening, PairingCode, Sighting};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = Opening::of(data);
    let _ = Certificate::from_bytes(data);
    if let Some(sighting) = Sighting::of(data) {
        let key = BeaconKey::from_bytes([1; 32]);
        let _ = sighting.recognise([&key]);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = PairingCode::parse(text);
    }
});
