//! GATT frames of anybody in the air: the carrier's memory stays bounded, and nothing panics.
#![no_main]

use std::time::Duration;

use berth_pairing::Carrier;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&mtu, mut rest)) = data.split_first() else {
        return;
    };
    let Ok(mut carrier) = Carrier::new(usize::from(mtu) * 2) else {
        return;
    };
    let _ = carrier.send(Bytes::from_static(&[7; 600]));
    let mut now = Duration::ZERO;
    while let Some((&length, after)) = rest.split_first() {
        let (frame, after) = after.split_at(after.len().min(usize::from(length)));
        now += Duration::from_millis(u64::from(length));
        let (mut messages, mut frames) = (Vec::new(), Vec::new());
        if carrier
            .receive(now, Bytes::copy_from_slice(frame), &mut messages)
            .is_err()
            || carrier.transmit(now, &mut frames).is_err()
        {
            return;
        }
        rest = after;
    }
});
