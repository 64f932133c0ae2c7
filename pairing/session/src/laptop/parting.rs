//! How a laptop parts from a hub, for a pause or for good: the last words, and the radio given back.

use std::mem;

use berth_radio::{Command, Time};

use super::{LaptopEffect, LaptopEnd, LaptopSession, Obstacle, Out, Phase};
use crate::ble::Ble;
use crate::control::FromLaptop;
use crate::{ATTEMPTS_MAX, DIRECT_ATTEMPTS_MAX, LEAVE_MAX, RETRY_AFTER};

impl LaptopSession {
    pub(super) fn leave(&mut self, now: Time, mut phase: Phase, out: Out<'_>) -> Phase {
        if let Phase::Leaving { .. } | Phase::Paired { .. } = phase {
            return phase;
        }
        let secured = self.ble.as_mut().filter(|ble| ble.is_secured());
        let has_said = secured.is_some_and(|ble| ble.say(now, &FromLaptop::Leaving).is_ok());
        if let Phase::Up { link } = &mut phase {
            out.extend(link.farewell().map(LaptopEffect::Radio));
        } else if !has_said {
            return self.over(LaptopEnd::Left, out);
        }
        self.close_stream(out);
        Phase::Leaving {
            until: now + LEAVE_MAX,
        }
    }

    pub(super) fn rest(&mut self, now: Time, obstacle: Obstacle, out: Out<'_>) -> Phase {
        self.obstacle = obstacle;
        self.attempts += 1;
        let attempts_max = if self.direct.is_some() {
            DIRECT_ATTEMPTS_MAX
        } else {
            ATTEMPTS_MAX
        };
        if self.attempts >= attempts_max || self.seek_until.is_some_and(|until| now >= until) {
            return self.over(LaptopEnd::NoLink(obstacle), out);
        }
        self.release(out);
        Phase::Resting {
            until: now + RETRY_AFTER * self.attempts,
        }
    }

    pub(super) fn over(&mut self, end: LaptopEnd, out: Out<'_>) -> Phase {
        self.release(out);
        out.push(LaptopEffect::Over(end));
        Phase::Over
    }

    /// Gives back everything that the radio was asked for.
    fn release(&mut self, out: Out<'_>) {
        self.close_stream(out);
        self.drop_ble(out);
        let held = mem::take(&mut self.radio);
        if held.scanning {
            out.push(LaptopEffect::Radio(Command::StopScanning));
        }
        if held.network {
            out.push(LaptopEffect::Radio(Command::Leave));
        }
    }

    pub(super) fn close_stream(&mut self, out: Out<'_>) {
        if let Some(stream) = self.radio.stream.take() {
            self.radio.closing = Some(stream);
            out.push(LaptopEffect::Radio(Command::CloseStream { stream }));
        }
    }

    pub(super) fn drop_ble(&mut self, out: Out<'_>) {
        if let Some(ble) = self.ble.take() {
            out.push(LaptopEffect::Radio(Command::Disconnect { conn: ble.conn }));
        }
    }

    pub(super) fn transmit(&mut self, now: Time, out: Out<'_>) {
        self.part_if_drained(out);
        let Some(ble) = &mut self.ble else { return };
        if ble
            .transmit(now, |command| out.push(LaptopEffect::Radio(command)))
            .is_err()
        {
            self.drop_ble(out);
            if !matches!(
                self.phase,
                Phase::Up { .. } | Phase::Paired { .. } | Phase::Leaving { .. } | Phase::Over
            ) {
                self.phase = self.rest(now, Obstacle::Bluetooth, out);
            }
        }
    }

    /// The last words have arrived: there is nothing more to wait for.
    fn part_if_drained(&mut self, out: Out<'_>) {
        if self.radio.closing.is_some() || !self.ble.as_ref().is_none_or(Ble::is_drained) {
            return;
        }
        match mem::replace(&mut self.phase, Phase::Over) {
            Phase::Paired { hub, .. } => self.phase = self.over(LaptopEnd::Paired(hub), out),
            Phase::Leaving { .. } => self.phase = self.over(LaptopEnd::Left, out),
            phase => self.phase = phase,
        }
    }
}
