//! `berth status` and `berth sets`: what is safe, and where, as far as this laptop knows with no hub near.

use std::path::Path;

use anyhow::{Context, Result};
use berth_agent::{HubRecord, SetRecord, Settings, VisitEnd, VisitRecord, bytes};
use berth_disk::OsDisk;
use berth_radio::{Joined, Way, WayFailure};
use berth_wire::SetKind;
use indicatif::HumanCount;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::args::Options;
use crate::{Outcome, clock, control, overdue, place, say, tell};

/// A hub's name in the table of sets: all of it fits into 80 columns.
const HUB_WIDTH_MAX: usize = 11;

/// Steps to the first byte in a line: they fit into 80 columns.
const STEPS_A_LINE: usize = 4;

/// Reads what is kept, and tells of what cannot be read.
fn records(folder: &Path) -> Result<Vec<HubRecord>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let disk = OsDisk::open(folder)?;
    let (records, damaged) = HubRecord::read_all(&disk).context("the folder `visits` in the state folder")?;
    if let Some(path) = damaged.first() {
        anyhow::bail!(
            "the file `{path}` in the state folder is damaged. Move it away: the backups are not touched, and the hub \
             tells its part again at the next visit."
        );
    }
    Ok(records)
}

pub(crate) fn status(options: &Options) -> Result<Outcome> {
    let folder = place::folder(options)?;
    let (records, settings) = (records(&folder)?, place::settings(&folder)?);
    let live = match control::ask_visitor(&folder, "status")? {
        Some(mut asked) => asked.next()?,
        None => None,
    };
    let overdue = overdue::age_days(&records, &settings);
    if options.json {
        let hubs: Vec<Value> = records.iter().map(|hub| hub_json(hub, &settings)).collect();
        let mut live = live;
        if let Some(fields) = live.as_mut().and_then(Value::as_object_mut) {
            fields.remove("done");
        }
        let answer = json!({
            "program": live, "overdue": overdue.is_some(), "overdue_days": overdue.flatten(), "hubs": hubs,
        });
        say(&answer.to_string());
        return Ok(Outcome::Done);
    }
    tell(&doing(live.as_ref()));
    if records.is_empty() {
        say("Nothing has been backed up yet.");
        return Ok(Outcome::Done);
    }
    match overdue {
        Some(Some(days)) => say(&format!("OVERDUE: the last complete backup is {days} days old.")),
        Some(None) => say("OVERDUE: there is no complete backup yet."),
        None => {}
    }
    for hub in &records {
        if let Some((set, days)) = overdue::upstream_days(hub, &settings) {
            say(&format!(
                "OVERDUE: at the last visit set {set} had waited on the hub {} for {days} days to go upstream. \
                 `berthctl status` there says why.",
                hub.name
            ));
        }
    }
    for hub in &records {
        if let Some(trouble) = &hub.trouble {
            say(&format!(
                "DAMAGED ({}): {}",
                when(trouble.at_ns),
                trouble.line(&hub.name)
            ));
        }
    }
    let is_visiting = live
        .as_ref()
        .is_some_and(|live| live.get("doing") == Some(&"visiting".into()));
    records.iter().for_each(|hub| show_hub(hub, is_visiting));
    Ok(Outcome::Done)
}

fn doing(live: Option<&Value>) -> String {
    let text = |name| live.and_then(|live| live.get(name)).and_then(Value::as_str);
    match (text("program"), text("doing")) {
        (None, _) => "No agent is running: `berth agent` backs up whenever the hub is near.".to_owned(),
        (Some(_), Some("visiting")) => {
            let words = live
                .and_then(|live| live.pointer("/visit/words"))
                .and_then(Value::as_str);
            format!("A backup is under way: {}.", words.unwrap_or("it begins"))
        }
        (Some(_), Some("paused")) => "The agent has stepped aside for another command.".to_owned(),
        (Some(_), _) => "The agent waits for the hub.".to_owned(),
    }
}

fn show_hub(hub: &HubRecord, is_visiting: bool) {
    let line = |what: &str, text: String| tell(&format!("  {what:<16}  {text}"));
    let set = |set: Option<&SetRecord>, at: &dyn Fn(&SetRecord) -> Option<i64>| match set {
        Some(set) => {
            let kind = match set.kind {
                Some(SetKind::Partial) => ", partial",
                Some(SetKind::Complete) | None => "",
            };
            format!(
                "set {}{kind}, {}",
                set.set,
                at(set).map_or_else(|| "-".into(), when)
            )
        }
        None => "nothing yet".to_owned(),
    };
    say(&format!("\nHub {}", hub.name));
    line(
        "last complete",
        match hub.last_complete() {
            Some(last) => format!(
                "set {}, {}: {} files, {}",
                last.set,
                last.created_at_ns
                    .or(last.sealed_at_ns())
                    .map_or_else(|| "-".into(), when),
                HumanCount(last.files),
                bytes(last.bytes)
            ),
            None => "none yet".to_owned(),
        },
    );
    line(
        "safe on the hub",
        set(newest(hub, |set| set.on_hub.is_some()), &SetRecord::sealed_at_ns),
    );
    let upstream = newest(hub, |set| set.upstream.is_some());
    line(
        "safe upstream",
        match upstream {
            None => "nothing yet, as of the last visit".to_owned(),
            upstream => set(upstream, &SetRecord::forwarded_at_ns),
        },
    );
    if let Some(visit) = &hub.visit {
        line(
            "last visit",
            format!("{}: {}", when(visit.ended_at_ns), end_words(visit, is_visiting)),
        );
        for (index, steps) in visit.steps.words().chunks(STEPS_A_LINE).enumerate() {
            line(if index == 0 { "  to begin it" } else { "" }, steps.join(", "));
        }
        if let Some(joined) = &visit.joined {
            line("  the way", way_words(joined));
        } else if visit.steps.needed_no_group() {
            line("  the way", "the network that both were on".to_owned());
        }
        if !matches!(visit.end, VisitEnd::Complete) && visit.bytes_changed > 0 {
            line(
                "  safe of it",
                format!(
                    "{} of {} ({} restorable at once)",
                    bytes(visit.bytes_acknowledged),
                    bytes(visit.bytes_changed),
                    bytes(visit.bytes_restorable)
                ),
            );
        }
    }
}

/// Which way into the hub's group was taken, and why not a better one.
fn way_words(joined: &Joined) -> String {
    let failed = joined.failed.iter().map(|(way, failure)| {
        let why = match failure {
            WayFailure::Missing => "is not there",
            WayFailure::Denied => "may not be used by this user",
            WayFailure::Unable => "can't be used on this adapter",
            WayFailure::Refused => "did not get into the group",
            WayFailure::Silent => "gave no answer",
        };
        format!("; {} {why}", way_name(*way))
    });
    way_name(joined.way).to_owned() + &failed.collect::<String>()
}

const fn way_name(way: Way) -> &'static str {
    match way {
        Way::WifiDirect => "Wi-Fi Direct",
        Way::NetworkManager => "a station of NetworkManager",
        Way::Supplicant => "a station of wpa_supplicant",
    }
}

/// `{"way": "supplicant", "failed": [{"way": "wifi_direct", "why": "unable"}]}`.
fn joined_json(joined: &Joined) -> Value {
    let failed = joined.failed.iter();
    json!({
        "way": joined.way,
        "failed": failed.map(|(way, why)| json!({ "way": way, "why": why })).collect::<Vec<_>>(),
    })
}

fn end_words(visit: &VisitRecord, is_visiting: bool) -> String {
    match &visit.end {
        VisitEnd::UnderWay if is_visiting => format!("set {} has begun", visit.set),
        VisitEnd::UnderWay => format!(
            "set {} was interrupted; the next visit tells what is safe",
            visit.set
        ),
        VisitEnd::Complete if visit.not_read > 0 => {
            let not_read = HumanCount(visit.not_read);
            format!("complete, {not_read} files not read as they should be")
        }
        VisitEnd::Complete => "complete".to_owned(),
        VisitEnd::Left => "left before the end".to_owned(),
        VisitEnd::Cut => "CUT".to_owned(),
        VisitEnd::Failed(why) => why.clone(),
    }
}

fn newest(hub: &HubRecord, is_wanted: impl Fn(&SetRecord) -> bool) -> Option<&SetRecord> {
    hub.sets.iter().rev().find(|set| is_wanted(set))
}

fn hub_json(hub: &HubRecord, settings: &Settings) -> Value {
    let set = |set: Option<&SetRecord>, at: Option<i64>| {
        set.map_or(
            Value::Null,
            |set| json!({ "set": set.set, "kind": set.kind, "at": rfc3339(at) }),
        )
    };
    let (on_hub, upstream) = (
        newest(hub, |set| set.on_hub.is_some()),
        newest(hub, |set| set.upstream.is_some()),
    );
    let last = hub.last_complete();
    json!({
        "hub": hub.name, "id": hub.hub,
        "last_complete": set(last, last.and_then(|last| last.created_at_ns.or(last.sealed_at_ns()))),
        "on_hub": set(on_hub, on_hub.and_then(SetRecord::sealed_at_ns)),
        "upstream": set(upstream, upstream.and_then(SetRecord::forwarded_at_ns)),
        "upstream_overdue_days": overdue::upstream_days(hub, settings).map(|(_, days)| days),
        "trouble": hub.trouble.as_ref().map(|trouble| json!({
            "at": rfc3339(Some(trouble.at_ns)), "words": trouble.words,
        })),
        "last_visit": hub.visit.as_ref().map(|visit| json!({
            "set": visit.set, "end": end_name(&visit.end), "began_at": rfc3339(Some(visit.began_at_ns)),
            "ended_at": rfc3339(Some(visit.ended_at_ns)), "bytes_changed": visit.bytes_changed,
            "bytes_acknowledged": visit.bytes_acknowledged, "bytes_restorable": visit.bytes_restorable,
            "not_read": visit.not_read, "steps": visit.steps.json(),
            "joined": visit.joined.as_ref().map(joined_json),
        })),
    })
}

const fn end_name(end: &VisitEnd) -> &'static str {
    match end {
        VisitEnd::UnderWay => "under-way",
        VisitEnd::Complete => "complete",
        VisitEnd::Left => "left",
        VisitEnd::Cut => "cut",
        VisitEnd::Failed(_) => "failed",
    }
}

pub(crate) fn sets(options: &Options) -> Result<Outcome> {
    let records = records(&place::folder(options)?)?;
    if options.json {
        let sets: Vec<Value> = records
            .iter()
            .flat_map(|hub| hub.sets.iter().map(|set| set_json(hub, set)))
            .collect();
        say(&json!(sets).to_string());
        return Ok(Outcome::Done);
    }
    if records.iter().all(|hub| hub.sets.is_empty()) {
        say("No sets yet.");
        return Ok(Outcome::Done);
    }
    let width = records
        .iter()
        .map(|hub| hub.name.len())
        .max()
        .unwrap_or(0)
        .clamp(3, HUB_WIDTH_MAX);
    say(&format!(
        "{:<width$}  {:>6}  {:<8}  {:<11}  {:<16}  UPSTREAM",
        "HUB", "SET", "KIND", "STATE", "MADE"
    ));
    for hub in &records {
        for set in &hub.sets {
            let made = set.created_at_ns.or(set.sealed_at_ns());
            let line = format!(
                "{:<width$.width$}  {:>6}  {:<8}  {:<11}  {:<16}  {:<16}",
                hub.name,
                set.set,
                kind(set).unwrap_or("-"),
                state(set),
                made.map_or_else(|| "-".into(), when),
                set.forwarded_at_ns().map_or_else(|| "-".into(), when),
            );
            say(line.trim_end());
        }
    }
    Ok(Outcome::Done)
}

const fn kind(set: &SetRecord) -> Option<&'static str> {
    match set.kind {
        Some(SetKind::Partial) => Some("partial"),
        Some(SetKind::Complete) => Some("complete"),
        None => None,
    }
}

/// Where the set is, as far as a receipt says so.
const fn state(set: &SetRecord) -> &'static str {
    match (&set.upstream, &set.on_hub) {
        (Some(_), _) => "upstream",
        (None, Some(_)) => "on-hub",
        // Cut, and not visited since: the hub has not signed for it yet.
        (None, None) => "unconfirmed",
    }
}

fn set_json(hub: &HubRecord, set: &SetRecord) -> Value {
    json!({
        "set": set.set, "hub": hub.name, "kind": kind(set), "state": state(set),
        "created_at": rfc3339(set.created_at_ns), "sealed_at": rfc3339(set.sealed_at_ns()),
        "snapshot": set.snapshot.map(|id| id.to_string()), "forwarded_at": rfc3339(set.forwarded_at_ns()),
    })
}

fn rfc3339(at_ns: Option<i64>) -> Value {
    let at = at_ns.and_then(|at_ns| Timestamp::from_nanosecond(i128::from(at_ns)).ok());
    at.map_or(Value::Null, |at| at.to_string().into())
}

/// Local time, and how long ago that is where it is short.
fn when(at_ns: i64) -> String {
    let minutes = clock::wall_ns().saturating_sub(at_ns) / 60_000_000_000;
    match Timestamp::from_nanosecond(i128::from(at_ns)) {
        Ok(_) if (0..1).contains(&minutes) => "just now".to_owned(),
        Ok(_) if (1..60).contains(&minutes) => format!("{minutes} min ago"),
        Ok(at) => at
            .to_zoned(TimeZone::system())
            .strftime("%Y-%m-%d %H:%M")
            .to_string(),
        Err(_) => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_into_a_group_is_told_with_what_kept_the_laptop_from_better_ones() {
        assert_eq!(way_words(&Joined::DIRECTLY), "Wi-Fi Direct");
        let joined = Joined {
            way: Way::Supplicant,
            failed: vec![
                (Way::WifiDirect, WayFailure::Unable),
                (Way::NetworkManager, WayFailure::Missing),
            ],
        };
        assert_eq!(
            way_words(&joined),
            "a station of wpa_supplicant; Wi-Fi Direct can't be used on this adapter; a station of NetworkManager is \
             not there"
        );
        assert_eq!(joined_json(&joined)["failed"][0]["why"], "unable");
    }
}
