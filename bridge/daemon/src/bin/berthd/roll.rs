//! Who is who: the laptops that this hub knows, and which of them somebody means.

use berth_bridge::{LaptopId, Spool};
use berth_daemon::{HubGone, Orders, Turn};
use berth_pairing::Name;

use crate::upstream::nameless;

/// Digits of a key that may stand for it: fewer are a guess.
const KEY_DIGITS_MIN: usize = 4;

/// One laptop.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) id: LaptopId,
    pub(crate) name: Name,
    pub(crate) is_revoked: bool,
    pub(crate) paired_at_ns: Option<i64>,
    pub(crate) is_visiting: bool,
}

/// Everybody who is trusted or was revoked, and whose sets are here; by name, then key.
pub(crate) fn all(orders: &Orders, spool: &Spool) -> anyhow::Result<Vec<Known>> {
    let mut known = orders.ask(known)?;
    for id in spool.laptops()? {
        if known.iter().all(|one| one.id != id) {
            known.push(Known {
                id,
                name: nameless(&id),
                is_revoked: false,
                paired_at_ns: None,
                is_visiting: false,
            });
        }
    }
    known.sort_by(|one, other| (&one.name, one.id).cmp(&(&other.name, other.id)));
    Ok(known)
}

fn known(turn: &mut Turn<'_>) -> Vec<Known> {
    let hub = turn.hub();
    let trust = hub.trust();
    let trusted = trust.peers().map(|peer| (peer, false));
    let revoked = trust.revoked().map(|peer| (peer, true));
    trusted
        .chain(revoked)
        .map(|(peer, is_revoked)| Known {
            id: peer.device.into(),
            name: peer.name.clone(),
            is_revoked,
            paired_at_ns: trust.paired_at_ns(&peer.device),
            is_visiting: hub.visitors().any(|visitor| visitor.device == peer.device),
        })
        .collect()
}

/// What a laptop is called.
pub(crate) fn name_of(orders: &Orders, laptop: &LaptopId) -> Result<Name, HubGone> {
    let wanted = *laptop;
    orders.ask(move |turn| {
        let found = known(turn).into_iter().find(|one| one.id == wanted);
        found.map_or_else(|| nameless(&wanted), |one| one.name)
    })
}

/// Whom somebody means by a name or by the first digits of a key.
pub(crate) fn meant(known: &[Known], text: &str) -> anyhow::Result<Known> {
    let is_key = text.len() >= KEY_DIGITS_MIN && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let name = Name::reduce(text);
    let mut found: Vec<&Known> = known.iter().filter(|one| one.name == name).collect();
    if found.is_empty() && is_key {
        let digits = text.to_ascii_lowercase();
        found = known
            .iter()
            .filter(|one| one.id.hex().starts_with(&digits))
            .collect();
    }
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => anyhow::bail!("there is no laptop {text:?}: run `berthctl devices` for the list"),
        several => {
            let keys: Vec<String> = several
                .iter()
                .map(|one| format!("{} ({})", one.id, one.name))
                .collect();
            anyhow::bail!("{text:?} may be any of {}: give the key", keys.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laptop(name: &str, first: u8) -> Known {
        Known {
            id: LaptopId([first; 32]),
            name: Name::reduce(name),
            is_revoked: false,
            paired_at_ns: None,
            is_visiting: false,
        }
    }

    #[test]
    fn a_name_that_two_laptops_have_is_never_guessed() {
        let known = [
            laptop("desk", 0x11),
            laptop("desk", 0x22),
            laptop("abcd", 0x33),
            laptop("../x", 0xab),
        ];
        let found = |text| {
            meant(&known, text)
                .map(|one| one.id.0[0])
                .map_err(|error| error.to_string())
        };
        assert_eq!(found("2222"), Ok(0x22));
        assert_eq!(found("abcd"), Ok(0x33), "a name goes before a key");
        assert_eq!(found("ABAB"), Ok(0xab));
        assert_eq!(found("../x"), Ok(0xab));
        assert_eq!(
            found("desk").unwrap_err(),
            "\"desk\" may be any of 11111111 (desk), 22222222 (desk): give the key"
        );
        assert!(found("222").is_err() && found("").is_err() && found("unnamed").is_err());
    }
}
