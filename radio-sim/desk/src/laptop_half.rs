//! The laptop half of the desk: a radio, a state folder, the user's folder. It shares nothing with the hub half.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use berth_agent::{Begin, Company, Errand, LaptopKeys, Leave, Left, State, StateError, Watched, drive};
use berth_client_sdk::{OsSource, Rules, SealStage, Visit, VisitOptions};
use berth_pairing::{Name, PairingCode, Peer, fast_aes};
use berth_radio::{Radio, Time};
use berth_session::{Goal, LaptopSession};
use rand_core::{OsRng, RngCore};

use crate::clock::wall_ns;

/// No hub at a desk needs longer than that to be heard.
const SEEK_MAX: Duration = Duration::from_secs(60);

/// The laptop, between visits.
pub(crate) struct LaptopHalf {
    state: State,
    name: Name,
}

impl LaptopHalf {
    /// Opens the state folder, or makes it: identity, repository and recovery key.
    pub(crate) fn open(folder: &Path, name: Name) -> Result<Self> {
        let state = State::open(folder, wall_ns(), &mut OsRng).map_err(|error| match error {
            StateError::Busy { .. } => anyhow!("{error}: wait for it to end, or take another --work"),
            error => anyhow!("{error}. {}", error.advice()),
        })?;
        Ok(Self { state, name })
    }

    /// The password of the repository.
    pub(crate) fn recovery_key(&self) -> &str {
        self.state.repository.recovery_key()
    }

    pub(crate) fn is_paired(&self) -> bool {
        self.state.trust.peers().next().is_some()
    }

    /// Pairs with the hub that shows `code`.
    pub(crate) fn pair(&mut self, radio: &mut dyn Radio, code: &str) -> Result<Peer> {
        let code = PairingCode::parse(code)?;
        let goal = Goal::Pair {
            code,
            name: self.name.clone(),
        };
        let left = self.run(radio, goal, None, &mut |_, _| {})?;
        match left.ended.session {
            berth_session::LaptopEnd::Paired(hub) => Ok(hub),
            other => bail!("{other}. {}", other.advice()),
        }
    }

    /// One visit: seeks the hub, backs `folder` up, leaves. `watch` is told where it is, several times a second, and may
    /// ask for a checkpoint.
    pub(crate) fn visit(
        &mut self,
        radio: &mut dyn Radio,
        folder: &Path,
        left_out: &[PathBuf],
        watch: &mut dyn FnMut(Time, &mut Watched<'_>),
    ) -> Result<Left> {
        let begin = self.begin(folder, left_out);
        let hubs = self.state.trust.peers().cloned().collect();
        self.run(radio, Goal::Visit { hubs }, Some(begin), watch)
    }

    fn begin(&self, folder: &Path, left_out: &[PathBuf]) -> Begin {
        let mut paths = left_out.to_vec();
        paths.push(self.state.folder.clone());
        let (disk, repository) = (Arc::clone(&self.state.disk), Arc::clone(&self.state.repository));
        let (identity, laptop_name) = (Arc::clone(&self.state.identity), self.name.to_string());
        let roots = vec![folder.to_path_buf()];
        Box::new(move |hub| {
            let mut seed = [0; 32];
            OsRng.fill_bytes(&mut seed);
            let options = VisitOptions {
                laptop: identity.device().0,
                hub: hub.device.0,
                laptop_name,
                hub_name: hub.name.to_string(),
                user_name: std::env::var("USER").unwrap_or_default(),
                roots,
                rules: Rules {
                    paths,
                    ..Rules::default()
                },
                wall_clock_ns: wall_ns(),
                seed,
            };
            let keys = LaptopKeys {
                laptop: identity,
                hub: hub.device,
            };
            let threads = std::thread::available_parallelism().map_or(1, usize::from);
            Visit::new(
                disk,
                Box::new(OsSource::new()),
                repository,
                Box::new(keys),
                SealStage::pool(threads),
                options,
            )
            .map(Errand::from)
        })
    }

    fn run(
        &mut self,
        radio: &mut dyn Radio,
        goal: Goal,
        begin: Option<Begin>,
        watch: &mut dyn FnMut(Time, &mut Watched<'_>),
    ) -> Result<Left> {
        let (now, identity, mut begun) = (radio.now(), Arc::clone(&self.state.identity), Vec::new());
        let (seek_max, rng) = (Some(SEEK_MAX), Box::new(OsRng));
        let session = LaptopSession::new(now, identity, goal, fast_aes(), seek_max, rng, &mut begun);
        let company = Company {
            trust: &mut self.state.trust,
            wall_ns: &wall_ns,
            leave: &Leave::new(radio.waker()),
            watch,
        };
        drive(radio, session, begun, begin, company).map_err(|error| anyhow!("{error}. {}", error.advice()))
    }
}
