//! Two ends and a bad air between them, on a virtual clock.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

use super::*;

/// What the air does to frames.
#[derive(Debug, Clone, Copy)]
struct Weather {
    lost_percent: u32,
    repeated_percent: u32,
    /// A frame takes 5 ms and up to this much more, so that frames overtake each other.
    jitter_ms: u32,
}

const FINE: Weather = Weather {
    lost_percent: 0,
    repeated_percent: 0,
    jitter_ms: 0,
};

struct World {
    now: Time,
    rng: ChaCha20Rng,
    weather: Weather,
    ends: [Carrier; 2],
    air: BTreeMap<(Time, u64), (usize, Bytes)>,
    frames: u64,
    frames_with_data: u64,
    came: [Vec<Bytes>; 2],
}

impl World {
    fn new(seed: u64, mtu_bytes: usize, weather: Weather) -> Self {
        Self {
            now: Time::ZERO,
            rng: ChaCha20Rng::seed_from_u64(seed),
            weather,
            ends: [mtu_bytes; 2].map(|mtu_bytes| Carrier::new(mtu_bytes).unwrap()),
            air: BTreeMap::new(),
            frames: 0,
            frames_with_data: 0,
            came: [Vec::new(), Vec::new()],
        }
    }

    fn percent(&mut self, percent: u32) -> bool {
        self.rng.next_u32() % 100 < percent
    }

    fn transmit(&mut self, end: usize) -> Result<(), CarrierError> {
        let mut frames = Vec::new();
        self.ends[end].transmit(self.now, &mut frames)?;
        assert!(
            self.ends[end].next_at().is_none_or(|at| at > self.now),
            "it would spin"
        );
        for frame in frames {
            self.frames += 1;
            self.frames_with_data += u64::from(frame[0] != 0);
            let copies = 1 + u32::from(self.percent(self.weather.repeated_percent));
            for copy in 0..copies {
                if !self.percent(self.weather.lost_percent) {
                    let jitter_ms = self.rng.next_u32() % (self.weather.jitter_ms + 1);
                    let at = self.now + Duration::from_millis(u64::from(5 + jitter_ms));
                    self.air
                        .insert((at, 2 * self.frames + u64::from(copy)), (1 - end, frame.clone()));
                }
            }
        }
        Ok(())
    }

    /// Goes on until both ends have nothing more to do, or one gives up.
    fn run(&mut self) -> Result<(), CarrierError> {
        for end in 0..2 {
            self.transmit(end)?;
        }
        loop {
            let arrival = self.air.keys().next().map(|(at, _)| *at);
            let Some(at) = self.ends.iter().filter_map(Carrier::next_at).chain(arrival).min() else {
                return Ok(());
            };
            self.now = self.now.max(at);
            while let Some(entry) = self.air.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let (end, frame) = entry.remove();
                self.ends[end].receive(self.now, frame, &mut self.came[end])?;
            }
            for end in 0..2 {
                self.transmit(end)?;
            }
        }
    }
}

fn message(number: usize, size_bytes: usize) -> Bytes {
    (0..size_bytes)
        .map(|place| (place * 31 + number * 7) as u8)
        .collect()
}

#[test]
fn a_fine_air_carries_messages_with_few_frames() {
    let mut world = World::new(1, 185, FINE);
    let sent: Vec<_> = [0, 1, 180, 181, 4096]
        .iter()
        .map(|size| message(1, *size))
        .collect();
    for message in &sent {
        world.ends[0].send(message.clone()).unwrap();
    }
    world.run().unwrap();
    assert_eq!(world.came[1], sent);
    assert_eq!(world.frames_with_data, 1 + 1 + 1 + 2 + 23);
    assert!(
        world.frames - world.frames_with_data <= 8,
        "{} acknowledgements",
        world.frames
    );
    assert!(world.now < Duration::from_millis(100));
    assert!(world.ends[0].is_drained());
}

#[test]
fn an_answer_carries_the_acknowledgement() {
    let (mut laptop, mut hub) = (Carrier::new(185).unwrap(), Carrier::new(185).unwrap());
    let (mut frames, mut messages) = (Vec::new(), Vec::new());
    laptop.send(Bytes::from_static(b"question")).unwrap();
    laptop.transmit(Time::ZERO, &mut frames).unwrap();
    hub.receive(Time::ZERO, frames.remove(0), &mut messages).unwrap();
    hub.send(Bytes::from_static(b"answer")).unwrap();
    hub.transmit(Time::ZERO, &mut frames).unwrap();
    assert_eq!(frames.len(), 1);
    laptop
        .receive(Time::ZERO, frames.remove(0), &mut messages)
        .unwrap();
    assert!(laptop.is_drained());
    assert_eq!(messages, ["question", "answer"]);
}

#[test]
fn a_lost_frame_that_others_overtook_is_sent_again_without_waiting_for_its_timer() {
    let (mut laptop, mut hub) = (Carrier::new(185).unwrap(), Carrier::new(185).unwrap());
    let (mut frames, mut messages) = (Vec::new(), Vec::new());
    laptop.send(message(1, 1000)).unwrap();
    laptop.transmit(Time::ZERO, &mut frames).unwrap();
    let now = Duration::from_millis(10);
    for frame in frames.drain(..).skip(1) {
        hub.receive(now, frame, &mut messages).unwrap();
    }
    hub.send(message(2, 10)).unwrap();
    hub.transmit(now, &mut frames).unwrap();
    assert_eq!(frames.len(), 2, "data does not say which frames are there");
    for frame in frames.drain(..) {
        laptop.receive(now, frame, &mut messages).unwrap();
    }
    laptop.transmit(now, &mut frames).unwrap();
    assert_eq!(frames.len(), 1, "exactly the lost frame");
    hub.receive(now, frames.remove(0), &mut messages).unwrap();
    assert_eq!(messages, [message(2, 10), message(1, 1000)]);
}

#[test]
fn a_dead_air_is_given_up_after_the_deadline() {
    let dead = Weather {
        lost_percent: 100,
        ..FINE
    };
    let mut world = World::new(2, 185, dead);
    world.ends[0].send(message(1, 100)).unwrap();
    assert_eq!(world.run(), Err(CarrierError::Lost));
    assert_eq!(world.now, GIVE_UP_AFTER);
    assert!(world.frames < 20, "{} frames into a dead air", world.frames);
}

#[test]
fn an_air_that_loses_a_quarter_of_all_frames_is_not_given_up() {
    for seed in 0..60 {
        let bad = Weather {
            lost_percent: 25,
            repeated_percent: 25,
            jitter_ms: 110,
        };
        let mut world = World::new(seed, 23, bad);
        for end in [0, 1, 0] {
            world.ends[end]
                .send(message(end, BLE_MESSAGE_SIZE_BYTES_MAX))
                .unwrap();
        }
        assert_eq!(world.run(), Ok(()), "seed {seed}");
        assert_eq!((world.came[0].len(), world.came[1].len()), (1, 2));
    }
}

#[test]
fn an_end_at_rest_sends_nothing_and_gives_nothing_up() {
    let mut world = World::new(3, 185, FINE);
    world.ends[0].send(message(1, 100)).unwrap();
    world.run().unwrap();
    assert_eq!([world.ends[0].next_at(), world.ends[1].next_at()], [None, None]);
    world.now += Duration::from_secs(3600);
    world.ends[0].send(message(2, 100)).unwrap();
    world.run().unwrap();
    assert_eq!(world.came[1].len(), 2);
}

#[test]
fn what_exceeds_a_limit_is_refused() {
    let mut carrier = Carrier::new(185).unwrap();
    assert_eq!(
        carrier.send(message(1, BLE_MESSAGE_SIZE_BYTES_MAX + 1)),
        Err(CarrierError::TooLong)
    );
    for _ in 0..QUEUE_SIZE_BYTES_MAX / BLE_MESSAGE_SIZE_BYTES_MAX {
        carrier.send(message(1, BLE_MESSAGE_SIZE_BYTES_MAX)).unwrap();
    }
    assert_eq!(carrier.send(message(1, 1)), Err(CarrierError::Full));
    assert_eq!(
        Carrier::new(19).unwrap_err(),
        CarrierError::FrameTooSmall { mtu_bytes: 19 }
    );
}

#[test]
fn an_endless_message_is_refused() {
    let mut carrier = Carrier::new(512).unwrap();
    let refused = (0..20_u16).find_map(|number| {
        let mut frame = BytesMut::from(&[FLAG_DATA][..]);
        frame.put_u16(number);
        frame.put_u16(0);
        frame.put_bytes(7, 500);
        carrier.receive(Time::ZERO, frame.freeze(), &mut Vec::new()).err()
    });
    assert_eq!(refused, Some(CarrierError::TooLong));
}

#[test]
fn numbers_may_wrap() {
    let mut world = World::new(
        4,
        20,
        Weather {
            lost_percent: 5,
            repeated_percent: 5,
            jitter_ms: 10,
        },
    );
    let mut sent = Vec::new();
    for number in 0..260 {
        sent.push(message(number, BLE_MESSAGE_SIZE_BYTES_MAX));
        world.ends[0].send(sent[number].clone()).unwrap();
        world.run().unwrap();
    }
    assert!(world.frames_with_data > 1 << 16);
    assert_eq!(world.came[1], sent);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn messages_come_out_whole_in_order_and_once_in_any_weather(
        seed in any::<u64>(),
        mtu_bytes in prop::sample::select(vec![20_usize, 23, 185, 244, 512, 2000]),
        lost_percent in 0..15_u32,
        repeated_percent in 0..30_u32,
        jitter_ms in 0..120_u32,
        sizes in prop::collection::vec((0..2_usize, 0..=BLE_MESSAGE_SIZE_BYTES_MAX), 1..12),
    ) {
        let mut world = World::new(seed, mtu_bytes, Weather { lost_percent, repeated_percent, jitter_ms });
        let mut sent = [Vec::new(), Vec::new()];
        for (number, (end, size_bytes)) in sizes.into_iter().enumerate() {
            let message = message(number, size_bytes);
            world.ends[end].send(message.clone()).unwrap();
            sent[1 - end].push(message);
        }
        prop_assert_eq!(world.run(), Ok(()));
        prop_assert_eq!(&world.came, &sent);
        prop_assert!(world.ends.iter().all(Carrier::is_drained));
    }

    #[test]
    fn nonsense_does_no_harm(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..200)) {
        let mut carrier = Carrier::new(185).unwrap();
        carrier.send(message(1, 4096)).unwrap();
        let (mut out, mut messages) = (Vec::new(), Vec::new());
        for (number, frame) in frames.into_iter().enumerate() {
            let now = Duration::from_millis(number as u64);
            if carrier.receive(now, frame.into(), &mut messages).is_err() {
                return Ok(());
            }
            carrier.transmit(now, &mut out).unwrap();
            prop_assert!(carrier.early.len() <= WINDOW_FRAMES && carrier.in_flight.len() <= WINDOW_FRAMES);
        }
    }
}
