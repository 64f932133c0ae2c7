//! A paired laptop whose program is somebody else's: it proves who it is, then sends what it likes.

use std::collections::VecDeque;
use std::time::Duration;

use berth_radio::{Command, Time};
use berth_session::{Goal, LaptopEffect, LaptopInput, LaptopSession};
use berth_wire::{Decoder, Frame, ToLaptop};
use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

use super::{SimLaptop, World};

/// A session of its own.
pub(super) struct Liar {
    session: LaptopSession,
    lies: VecDeque<Bytes>,
    decoder: Decoder,
    heard: Vec<ToLaptop>,
    is_over: bool,
}

impl Liar {
    fn new(now: Time, laptop: &mut SimLaptop, lies: Vec<Bytes>, commands: &mut Vec<Command>) -> Self {
        let hubs = laptop.trust().unwrap().peers().cloned().collect();
        let rng = Box::new(ChaCha8Rng::seed_from_u64(lies.len() as u64));
        let mut effects = Vec::new();
        let session = LaptopSession::new(
            now,
            laptop.identity.clone(),
            Goal::Visit { hubs },
            true,
            Some(Duration::from_secs(60)),
            rng,
            &mut effects,
        );
        let mut liar = Self {
            session,
            lies: lies.into(),
            decoder: Decoder::default(),
            heard: Vec::new(),
            is_over: false,
        };
        liar.did(effects, commands);
        liar
    }

    pub(super) fn next_at(&self) -> Option<Time> {
        self.session.next_at()
    }

    /// Takes one input, and says the next lies if there is room.
    pub(super) fn handle(&mut self, now: Time, input: LaptopInput, commands: &mut Vec<Command>) {
        let mut effects = Vec::new();
        self.session.handle(now, input, &mut effects);
        while self.session.room_bytes() > 0
            && let Some(frame) = self.lies.pop_front()
        {
            self.session.handle(now, LaptopInput::Frame(frame), &mut effects);
        }
        self.did(effects, commands);
    }

    fn did(&mut self, effects: Vec<LaptopEffect>, commands: &mut Vec<Command>) {
        for effect in effects {
            match effect {
                LaptopEffect::Radio(command) => commands.push(command),
                LaptopEffect::Frame(frame) => {
                    if let Ok(Some(Frame::Control(message))) = self.decoder.frame(frame) {
                        self.heard.push(message);
                    }
                }
                LaptopEffect::Over(_) => self.is_over = true,
                LaptopEffect::Store(_)
                | LaptopEffect::BeaconKey { .. }
                | LaptopEffect::Up { .. }
                | LaptopEffect::Room => {}
            }
        }
    }
}

impl World {
    /// A session with the laptop's keys that sends exactly these frames. Gives what the hub answered.
    ///
    /// # Panics
    /// If the hub has not ended the session after five minutes.
    pub fn lie(&mut self, frames: Vec<Bytes>) -> Vec<ToLaptop> {
        let mut commands = Vec::new();
        let liar = Liar::new(self.now(), &mut self.laptop, frames, &mut commands);
        self.liar = Some(liar);
        self.laptop_commands(commands);
        let ended = self.run_until(Duration::from_secs(300), |world| {
            world.liar.as_ref().is_none_or(|liar| liar.is_over)
        });
        assert!(ended, "the hub goes on listening to lies");
        self.liar.take().map(|liar| liar.heard).unwrap_or_default()
    }

    pub(super) fn laptop_commands(&mut self, commands: Vec<Command>) {
        let now = self.now();
        for command in commands {
            self.air.command(now, self.laptop.port, command);
        }
    }
}
