//! Frames of a peer that has proved who it is and lies: decoding ends in a message or an error.
#![no_main]

use berth_wire::{Decoder, Manifest, ObjectEntry, Receipt, ToHub, ToLaptop, control_frames, decode};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (mut hub, mut laptop) = (Decoder::default(), Decoder::default());
    let mut rest = data;
    while let Some((&length, after)) = rest.split_first() {
        let (frame, after) = after.split_at(after.len().min(usize::from(length) * 8));
        let _ = hub.frame::<ToHub>(Bytes::copy_from_slice(frame));
        let _ = laptop.frame::<ToLaptop>(Bytes::copy_from_slice(frame));
        rest = after;
    }
    // What decodes can be said again.
    if let Ok(message) = decode::<ToHub>(data) {
        assert!(control_frames(&message).is_ok());
    }
    let _ = decode::<Manifest>(data);
    let _ = decode::<Receipt>(data);
    let _ = decode::<Vec<ObjectEntry>>(data);
});
