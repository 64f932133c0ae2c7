//! What a command has in its hands that meets a hub: the state folder, its settings, and a radio.
//!
//! Place: `pair`, `backup`, and the commands that read back. Invariant: a running agent steps aside first and comes back
//! when this is dropped, however the command ends; the folder is given back before the agent is.

use std::path::Path;

use anyhow::{Result, anyhow, bail};
use berth_agent::{Begin, Company, Leave, Left, Settings, State, StateError, Watched, drive};
use berth_net::NetRadio;
use berth_pairing::{Name, Peer, fast_aes};
use berth_radio::{Event, Radio, Time};
use berth_session::{Goal, LaptopEffect, LaptopInput, LaptopSession};
use rand_core::OsRng;

use crate::args::Options;
use crate::control::{self, Asked};
use crate::{clock, place, radio};

/// No hub that is near needs longer than that to be heard.
const SEEK_MAX: Time = Time::from_secs(60);

/// See the module's header. The order of the fields is that of giving back.
pub(crate) struct Hands {
    /// The folder, locked.
    pub(crate) state: State,
    /// The radio, or what dials `--via`.
    pub(crate) radio: NetRadio,
    /// As they were when the command began.
    pub(crate) settings: Settings,
    /// What the laptop calls itself.
    pub(crate) name: Name,
    is_via: bool,
    _paused: Option<Asked>,
}

impl Hands {
    /// Takes the folder, from the agent if one runs, and comes into the air.
    pub(crate) fn take(options: &Options) -> Result<Self> {
        let folder = place::folder(options)?;
        let Some(mut asked) = control::ask(&folder, control::AGENT, "pause")? else {
            return Self::take_free(options, None);
        };
        if asked.next()?.is_none() {
            bail!("the agent ended just now: try again");
        }
        asked.be_patient()?;
        Self::take_free(options, Some(asked))
    }

    /// Takes the folder from nobody: for the agent itself.
    pub(crate) fn take_as_agent(options: &Options) -> Result<Self> {
        Self::take_free(options, None)
    }

    fn take_free(options: &Options, paused: Option<Asked>) -> Result<Self> {
        let folder = place::folder(options)?;
        let settings = place::settings(&folder)?;
        let name = place::name(options, &settings);
        let state = open_state(&folder)?;
        let radio = radio::open(options, &name)?;
        Ok(Self {
            state,
            radio,
            settings,
            name,
            is_via: options.via.is_some(),
            _paused: paused,
        })
    }

    /// The hub is reached over a network, not by radio.
    pub(crate) const fn is_via(&self) -> bool {
        self.is_via
    }

    /// The paired hubs.
    ///
    /// # Errors
    /// There are none.
    pub(crate) fn hubs(&self) -> Result<Vec<Peer>> {
        let hubs: Vec<Peer> = self.state.trust.peers().cloned().collect();
        if hubs.is_empty() {
            bail!("this laptop is not paired: run `berthctl pair` on the hub, then `berth pair CODE` here");
        }
        Ok(hubs)
    }

    /// One session, from its beginning to its end: seeks a hub (or goes on from a sighting) or dials it. `begin` makes
    /// the visit once the link is up.
    pub(crate) fn session(
        &mut self,
        goal: Goal,
        sighting: Option<Event>,
        begin: Option<Begin>,
        leave: &Leave,
        watch: &mut dyn FnMut(Time, &mut Watched<'_>),
    ) -> Result<Left> {
        let (now, identity) = (self.radio.now(), self.state.identity.clone());
        let (mut begun, rng): (Vec<LaptopEffect>, _) = (Vec::new(), Box::new(OsRng));
        let mut session = if self.is_via {
            LaptopSession::direct(now, identity, goal, fast_aes(), rng, &mut begun)
        } else {
            LaptopSession::new(now, identity, goal, fast_aes(), Some(SEEK_MAX), rng, &mut begun)
        };
        if let Some(sighting) = sighting {
            session.handle(now, LaptopInput::Radio(sighting), &mut begun);
        }
        let company = Company {
            trust: &mut self.state.trust,
            wall_ns: &clock::wall_ns,
            leave,
            watch,
        };
        drive(&mut self.radio, session, begun, begin, company)
            .map_err(|error| place::advised(&error, error.advice()))
    }
}

/// Opens the folder, or says who has it.
pub(crate) fn open_state(folder: &Path) -> Result<State> {
    State::open(folder, clock::wall_ns(), &mut OsRng).map_err(|error| match error {
        StateError::Busy { folder } => {
            anyhow!(
                "another berth works with {}: wait for it to end, or stop it",
                folder.display()
            )
        }
        error => place::of_state(&error),
    })
}
