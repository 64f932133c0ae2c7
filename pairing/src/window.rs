//! The pairing window of a hub: one code, three guesses, two minutes.
//!
//! Place: the person opens it; every [`crate::HubPairing`] takes its guess from it.
//! Invariant: a constant number of state, whatever comes over the air. At most [`GUESSES_MAX`] ceremonies ever hold a
//! guess of one window, and the message that lets a peer test a guess leaves only after the guess was taken.

use std::fmt;
use std::time::Duration;

use berth_radio::Time;
use rand_core::CryptoRngCore;

use crate::PairingCode;

/// Guesses in one window.
pub const GUESSES_MAX: u8 = 3;

/// Time after which a window closes by itself.
pub const WINDOW_MAX: Duration = Duration::from_secs(120);

/// Why a window is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Closed {
    /// It was never opened.
    NeverOpened,
    /// A laptop was paired.
    Paired,
    /// Three guesses were used.
    GuessesUsed,
    /// Two minutes have passed.
    Expired,
    /// By the person, or because the hub stops.
    ByHand,
}

impl Closed {
    /// What the person at the hub can do about it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::NeverOpened | Self::ByHand => "Run `berthctl pair` on the hub to pair a laptop.",
            Self::Paired => "Done. Run `berthctl pair` again to pair another laptop.",
            Self::GuessesUsed => {
                "Three wrong codes came in. If they were not yours, somebody near tries to pair. Run `berthctl pair` \
                 again for a new code."
            }
            Self::Expired => "Nobody paired within two minutes. Run `berthctl pair` again for a new code.",
        }
    }
}

/// The window, open or closed. One per hub.
pub struct Window {
    state: State,
    /// Which opening this is, so that a ceremony of an earlier one cannot go on in a later one.
    opening: u64,
}

enum State {
    Closed {
        why: Closed,
    },
    Open {
        code: PairingCode,
        closes_at: Time,
        guesses_left: u8,
        /// Ceremonies that hold a guess whose outcome is not known; at most [`GUESSES_MAX`].
        pending: u8,
    },
}

/// One guess taken from a window.
#[derive(Debug)]
pub(crate) struct Guess {
    opening: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            state: State::Closed {
                why: Closed::NeverOpened,
            },
            opening: 0,
        }
    }
}

impl Window {
    /// Opens the window for [`WINDOW_MAX`] with a new code, which is to be shown to the person and forgotten. An open
    /// window is closed first: its code is worth nothing from then on.
    pub fn open(&mut self, now: Time, rng: &mut dyn CryptoRngCore) -> PairingCode {
        let code = PairingCode::generate(rng);
        self.opening += 1;
        self.state = State::Open {
            code: code.clone(),
            closes_at: now + WINDOW_MAX,
            guesses_left: GUESSES_MAX,
            pending: 0,
        };
        code
    }

    /// Closes the window; ceremonies under way end at their next message.
    pub fn close(&mut self) {
        self.close_for(Closed::ByHand);
    }

    /// Lets time pass. Call it at [`Window::next_at`], or whenever it suits.
    pub fn tick(&mut self, now: Time) {
        if let State::Open { closes_at, .. } = self.state
            && now >= closes_at
        {
            self.close_for(Closed::Expired);
        }
    }

    /// When the window closes by itself, if it is open.
    #[must_use]
    pub const fn next_at(&self) -> Option<Time> {
        match self.state {
            State::Open { closes_at, .. } => Some(closes_at),
            State::Closed { .. } => None,
        }
    }

    /// `None` while the window takes guesses; else why it does not.
    #[must_use]
    pub fn closed(&self, now: Time) -> Option<Closed> {
        match &self.state {
            State::Closed { why } => Some(*why),
            State::Open { closes_at, .. } if now >= *closes_at => Some(Closed::Expired),
            State::Open { guesses_left: 0, .. } => Some(Closed::GuessesUsed),
            State::Open { .. } => None,
        }
    }

    /// Guesses that are left; 0 when closed.
    #[must_use]
    pub const fn guesses_left(&self) -> u8 {
        match self.state {
            State::Open { guesses_left, .. } => guesses_left,
            State::Closed { .. } => 0,
        }
    }

    /// The code, for a ceremony that is about to take a guess.
    pub(crate) fn code(&self, now: Time) -> Result<&PairingCode, Closed> {
        match (&self.state, self.closed(now)) {
            (State::Open { code, .. }, None) => Ok(code),
            (State::Open { .. } | State::Closed { .. }, why) => Err(why.unwrap_or(Closed::ByHand)),
        }
    }

    /// Takes a guess. The hub's SPAKE2 message may leave after this, and only after this.
    pub(crate) fn guess(&mut self, now: Time) -> Result<Guess, Closed> {
        if let Some(why) = self.closed(now) {
            self.tick(now);
            return Err(why);
        }
        if let State::Open {
            guesses_left,
            pending,
            ..
        } = &mut self.state
        {
            *guesses_left -= 1;
            *pending += 1;
        }
        Ok(Guess {
            opening: self.opening,
        })
    }

    /// Whether a ceremony that holds a guess may go on.
    pub(crate) fn holds(&mut self, now: Time, guess: &Guess) -> Result<(), Closed> {
        self.tick(now);
        match &self.state {
            State::Closed { why } => Err(*why),
            State::Open { .. } if guess.opening != self.opening => Err(Closed::ByHand),
            State::Open { .. } => Ok(()),
        }
    }

    /// The guess was wrong or its ceremony ended otherwise. The last one closes the window.
    pub(crate) fn failed(&mut self, guess: Guess) {
        let Guess { opening } = guess;
        if let State::Open {
            guesses_left,
            pending,
            ..
        } = &mut self.state
            && opening == self.opening
        {
            *pending -= 1;
            if *pending == 0 && *guesses_left == 0 {
                self.close_for(Closed::GuessesUsed);
            }
        }
    }

    /// The guess was right: one window pairs one laptop.
    pub(crate) fn succeeded(&mut self, guess: Guess) {
        let Guess { opening } = guess;
        if opening == self.opening {
            self.close_for(Closed::Paired);
        }
    }

    fn close_for(&mut self, why: Closed) {
        if let State::Open { .. } = self.state {
            self.state = State::Closed { why };
        }
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Window");
        match &self.state {
            State::Closed { why } => shown.field("closed", why),
            State::Open {
                closes_at,
                guesses_left,
                ..
            } => shown
                .field("closes_at", closes_at)
                .field("guesses_left", guesses_left),
        };
        shown.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;

    fn open() -> (Window, ChaCha20Rng) {
        let (mut window, mut rng) = (Window::default(), ChaCha20Rng::seed_from_u64(1));
        assert_eq!(window.closed(Time::ZERO), Some(Closed::NeverOpened));
        window.open(Time::ZERO, &mut rng);
        (window, rng)
    }

    #[test]
    fn a_window_closes_by_itself_after_two_minutes() {
        let (mut window, _) = open();
        let just_before = WINDOW_MAX - Duration::from_millis(1);
        window.tick(just_before);
        assert_eq!(
            (window.closed(just_before), window.next_at()),
            (None, Some(WINDOW_MAX))
        );
        assert_eq!(
            window.closed(WINDOW_MAX),
            Some(Closed::Expired),
            "open until somebody says tick"
        );
        window.tick(WINDOW_MAX);
        assert_eq!(
            (window.closed(Time::ZERO), window.next_at()),
            (Some(Closed::Expired), None)
        );
    }

    #[test]
    fn the_third_guess_may_still_be_the_right_one() {
        let (mut window, _) = open();
        let mut guesses: Vec<_> = (0..GUESSES_MAX)
            .map(|_| window.guess(Time::ZERO).unwrap())
            .collect();
        assert!(window.guess(Time::ZERO).is_err());
        let last = guesses.pop().unwrap();
        for guess in guesses {
            window.failed(guess);
        }
        assert_eq!(window.holds(Time::ZERO, &last), Ok(()));
        window.succeeded(last);
        assert_eq!(window.closed(Time::ZERO), Some(Closed::Paired));
    }

    #[test]
    fn a_new_opening_has_a_new_code_and_guesses_of_its_own() {
        let (mut window, mut rng) = open();
        let old = window.guess(Time::ZERO).unwrap();
        let before = window.code(Time::ZERO).unwrap().to_text();
        let code = window.open(Time::ZERO, &mut rng);
        assert_ne!(code.to_text(), before);
        assert_eq!(window.holds(Time::ZERO, &old), Err(Closed::ByHand));
        window.failed(old);
        assert_eq!(window.guesses_left(), GUESSES_MAX);
        window.close();
        assert_eq!(window.closed(Time::ZERO), Some(Closed::ByHand));
        window.tick(WINDOW_MAX);
        assert_eq!(
            window.closed(WINDOW_MAX),
            Some(Closed::ByHand),
            "the reason was forgotten"
        );
    }

    #[test]
    fn debug_shows_no_code() {
        let (window, _) = open();
        let shown = format!("{window:?}");
        let code = window.code(Time::ZERO).unwrap().to_text();
        assert!(
            !shown.contains(&code[..4]) && shown.contains("guesses_left: 3"),
            "{shown}"
        );
    }
}
