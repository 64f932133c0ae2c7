//! `berth pair CODE`.

use anyhow::{Result, anyhow, bail};
use berth_agent::{Leave, write_text};
use berth_pairing::{Name, PairingCode};
use berth_radio::Radio;
use berth_session::{Goal, LaptopEnd};
use serde_json::json;

use crate::args::Options;
use crate::backup::LOOKING;
use crate::hands::Hands;
use crate::{Outcome, place, say, tell};

pub(crate) fn run(options: &Options, code: &str) -> Result<Outcome> {
    let code =
        PairingCode::parse(code).map_err(|error| anyhow!("{error}. It is what `berthctl pair` shows."))?;
    let mut hands = Hands::take(options)?;
    let leave = Leave::new(hands.radio.waker());
    let goal = Goal::Pair {
        code,
        name: hands.name.clone(),
    };
    if !options.json {
        say(LOOKING);
    }
    let left = hands.session(goal, None, None, &leave, &mut |_, _| {})?;
    let hub = match left.ended.session {
        LaptopEnd::Paired(hub) => hub,
        other => bail!("{other}. {}", other.advice()),
    };
    if let Some(name) = &options.name {
        keep_name(&hands, &Name::reduce(name))?;
    }
    if options.json {
        say(&json!({ "event": "paired", "hub": hub.name.as_str() }).to_string());
    } else {
        tell(&format!(
            "Paired with {} as {}. Next: `berth recovery-key`, and write it down; then `berth backup`, or leave it to `berth agent`.",
            hub.name, hands.name
        ));
    }
    Ok(Outcome::Done)
}

/// The hub knows the laptop by this name: snapshots are to bear it too.
fn keep_name(hands: &Hands, name: &Name) -> Result<()> {
    let (disk, _lock) = place::lock_settings(&hands.state.folder)?;
    write_text(&disk, "name", name.as_str()).map_err(|error| place::of_settings(&error))
}
