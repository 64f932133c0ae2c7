//! Which set is meant: by a number, a word or a snapshot's id, on a hub or upstream.
//!
//! Place: an argument -> [`SetName`] -> [`snapshot`].
//! Invariant: where a name can mean more than one set nothing is guessed.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::str::FromStr;

use anyhow::{Result, bail};
use berth_agent::Seen;
use berth_restore::{ObjectKind, Repository, Snapshot};

use crate::Outcome;
use crate::reading_names::when;

/// Which set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SetName {
    /// The newest complete one.
    Latest,
    /// This one.
    Number(u64),
    /// That of the snapshot whose id begins so: as restic names them, and as no number of a set is written.
    Snapshot(String),
}

/// Digits of an id that restic shows.
const SNAPSHOT_DIGITS_MIN: usize = 8;

impl FromStr for SetName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_id = (SNAPSHOT_DIGITS_MIN..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match text {
            "latest" => Ok(Self::Latest),
            id if is_id => Ok(Self::Snapshot(id.to_ascii_lowercase())),
            number => number
                .parse()
                .map(Self::Number)
                .map_err(|_| "a set is a number, `latest`, or a snapshot's id; `berth sets` shows all"),
        }
    }
}

/// The snapshot of a set: that of the hub that is read from, where other hubs' sets of this number are there too. And
/// [`Outcome::SomeNotRead`] where one that can't be read may be what was asked for.
pub(crate) fn snapshot(repository: &Repository, set: &SetName, seen: &Seen) -> Result<(Snapshot, Outcome)> {
    let snapshots = repository.snapshots()?;
    let left_out = repository.left_out();
    let is_all = !left_out.iter().any(|object| object.kind == ObjectKind::Snapshot);
    let (found, is_certain) = match seen.hub() {
        Some(hub) => of_hub(&snapshots, set, hub, is_all)?,
        None => of_upstream(&snapshots, set, is_all)?,
    };
    if is_certain {
        return Ok((found.clone(), Outcome::Done));
    }
    let _ = writeln!(
        io::stderr(),
        "took {}; the one asked for may be among those that can't be read",
        set_number(found).map_or_else(
            || format!("snapshot {:?}", found.id),
            |number| format!("set {number}")
        )
    );
    Ok((found.clone(), Outcome::SomeNotRead))
}

/// The snapshots that Berth made, with the numbers of their sets.
fn numbered(snapshots: &[Snapshot]) -> Vec<(u64, &Snapshot)> {
    let numbered = snapshots.iter();
    numbered
        .filter_map(|snapshot| Some((set_number(snapshot)?, snapshot)))
        .collect()
}

fn is_complete(snapshot: &Snapshot) -> bool {
    snapshot.tags.iter().any(|tag| tag == "complete")
}

/// The one snapshot whose id begins so.
fn by_id<'a>(snapshots: &'a [Snapshot], digits: &str) -> Result<&'a Snapshot> {
    let mut found = snapshots
        .iter()
        .filter(|snapshot| snapshot.id.to_string().starts_with(digits));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => bail!("more than one snapshot's id begins with {digits}: give more of it"),
        (None, _) => bail!("there is no snapshot {digits} that can be read"),
    }
}

/// On a hub; and whether it is certain that it is the one.
fn of_hub<'a>(
    snapshots: &'a [Snapshot],
    set: &SetName,
    hub: &str,
    is_all: bool,
) -> Result<(&'a Snapshot, bool)> {
    let mut sets = numbered(snapshots);
    let of_hub = format!("hub:{hub}");
    let has_own = sets.iter().any(|(_, snapshot)| snapshot.tags.contains(&of_hub));
    if has_own {
        sets.retain(|(_, snapshot)| snapshot.tags.contains(&of_hub));
    }
    sets.sort_by_key(|(number, snapshot)| (*number, snapshot.time));
    let (found, is_certain) = match set {
        SetName::Snapshot(digits) => return Ok((by_id(snapshots, digits)?, true)),
        SetName::Number(wanted) => {
            let found = sets.iter().rfind(|(number, _)| number == wanted);
            (found, is_all || has_own)
        }
        SetName::Latest => (sets.iter().rfind(|(_, snapshot)| is_complete(snapshot)), is_all),
    };
    if let Some((_, snapshot)) = found {
        return Ok((snapshot, is_certain));
    }
    let readable = if is_all { "" } else { " that can be read" };
    let Some((newest, _)) = sets.last() else {
        if is_all {
            bail!("the hub {hub} holds no set of this laptop. Run `berth backup` first.");
        }
        bail!(
            "the hub {hub} holds no set of this laptop that can be read. Run `berth backup` for a new one."
        );
    };
    match set {
        SetName::Number(wanted) => bail!(
            "the hub {hub} holds no set {wanted}{readable}; the newest is {newest}. `berth sets` shows all."
        ),
        SetName::Latest | SetName::Snapshot(_) => bail!(
            "the hub {hub} holds no complete set{readable}. The newest partial one is {newest}: name it by its number."
        ),
    }
}

/// Upstream, where the sets of several hubs may have one number; and whether it is certain that it is the one.
fn of_upstream<'a>(snapshots: &'a [Snapshot], set: &SetName, is_all: bool) -> Result<(&'a Snapshot, bool)> {
    // The newest is the last.
    let sets = numbered(snapshots);
    let readable = if is_all { "" } else { " that can be read" };
    let found: Vec<&Snapshot> = match set {
        SetName::Snapshot(digits) => return Ok((by_id(snapshots, digits)?, true)),
        SetName::Latest => {
            let complete = sets.iter().rfind(|(_, snapshot)| is_complete(snapshot));
            complete.map(|(_, snapshot)| *snapshot).into_iter().collect()
        }
        SetName::Number(wanted) => {
            let same = sets.iter().filter(|(number, _)| number == wanted);
            same.map(|(_, snapshot)| *snapshot).collect()
        }
    };
    let Some(newest) = found.last() else {
        let there = match (set, sets.last()) {
            (_, None) => "nor any other set that Berth made".to_owned(),
            (SetName::Latest, Some((newest, _))) => {
                format!("the newest partial one is {newest}: name it by its number")
            }
            (_, Some((newest, _))) => format!("the newest is {newest}"),
        };
        match set {
            SetName::Number(wanted) => bail!("there is no set {wanted}{readable}; {there}"),
            SetName::Latest | SetName::Snapshot(_) => bail!("there is no complete set{readable}; {there}"),
        }
    };
    let hubs: BTreeSet<&str> = found.iter().map(|snapshot| hub_of(snapshot)).collect();
    if hubs.len() > 1 {
        let all: Vec<String> = found
            .iter()
            .map(|one| format!("{:?} of the hub {} of {}", one.id, hub_of(one), when(one.time)))
            .collect();
        bail!(
            "several hubs have a set of this number; name one by its id: {}",
            all.join(", ")
        );
    }
    Ok((newest, is_all))
}

fn hub_of(snapshot: &Snapshot) -> &str {
    let mut hubs = snapshot.tags.iter().filter_map(|tag| tag.strip_prefix("hub:"));
    hubs.next().unwrap_or("?")
}

pub(crate) fn set_number(snapshot: &Snapshot) -> Option<u64> {
    snapshot
        .tags
        .iter()
        .find_map(|tag| tag.strip_prefix("set:")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use berth_repository::Id;
    use berth_restore::Time;

    use super::*;

    fn made(at: i64, tags: &[&str]) -> Snapshot {
        Snapshot {
            id: Id::of(&at.to_le_bytes()),
            time: Time {
                seconds: at,
                nanoseconds: 0,
            },
            tree: Id::of(b""),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            hostname: "laptop".to_owned(),
            username: String::new(),
            paths: Vec::new(),
        }
    }

    #[test]
    fn upstream_the_latest_is_the_newest_complete_set_of_any_hub() {
        let all = [
            made(1, &["complete", "hub:desk", "set:9"]),
            made(2, &["complete", "hub:office", "set:2"]),
            made(3, &["partial", "hub:office", "set:3"]),
            made(4, &["complete"]),
        ];
        let (found, is_certain) = of_upstream(&all, &SetName::Latest, true).unwrap();
        assert!(is_certain && found.id == all[1].id);
        let (found, _) = of_upstream(&all, &SetName::Number(3), true).unwrap();
        assert_eq!(found.id, all[2].id);
        let none = of_upstream(&all, &SetName::Number(7), true).unwrap_err();
        assert_eq!(none.to_string(), "there is no set 7; the newest is 3");
    }

    #[test]
    fn a_number_that_several_hubs_gave_is_not_guessed() {
        let all = [
            made(1, &["complete", "hub:desk", "set:2"]),
            made(2, &["complete", "hub:office", "set:2"]),
        ];
        let said = of_upstream(&all, &SetName::Number(2), true)
            .unwrap_err()
            .to_string();
        assert_eq!(said.lines().count(), 1);
        for one in &all {
            let digits = format!("{:?}", one.id);
            assert!(said.contains(&digits), "{said}");
            let (found, _) = of_upstream(&all, &digits.parse().unwrap(), true).unwrap();
            assert_eq!(found.id, one.id);
        }
    }

    #[test]
    fn a_set_is_named_by_a_number_a_word_or_an_id() {
        assert_eq!("latest".parse(), Ok(SetName::Latest));
        assert_eq!("1234567".parse(), Ok(SetName::Number(1_234_567)));
        assert_eq!("12345678".parse(), Ok(SetName::Snapshot("12345678".to_owned())));
        assert_eq!("ABCDEF01".parse(), Ok(SetName::Snapshot("abcdef01".to_owned())));
        for text in ["", "abc", "newest", "-1"] {
            assert!(text.parse::<SetName>().is_err(), "{text}");
        }
    }
}
