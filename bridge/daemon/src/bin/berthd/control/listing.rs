//! Lists: what the spool and the trust list know, as it is told.

use std::time::Duration;

use anyhow::Result;
use berth_bridge::{Forward, LaptopId, SetRecord};
use berth_ctl::{Device, HubStatus, SetItem, SetRow, Standing, Visiting};
use berth_daemon::{ForwardFailure, Opening, Outage};
use berth_upstream::UpstreamUrl;
use berth_wire::{Full, SetKind};
use bytesize::ByteSize;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Control;
use crate::clock::{lasted, wall_ns};
use crate::config::When;
use crate::roll::{self, Known};

impl Control {
    pub(super) fn known(&self) -> Result<Vec<Known>> {
        roll::all(&self.orders, &self.spool)
    }

    pub(super) fn device(&self, known: &Known) -> Result<Device> {
        let sets = self.spool.sets(&known.id)?;
        let complete = sets.iter().rev().filter_map(SetRecord::sealed);
        let newest = complete
            .filter(|sealed| sealed.kind == SetKind::Complete)
            .map(|sealed| sealed.sealed_at_ns)
            .next();
        Ok(Device {
            laptop: known.name.to_string(),
            key: known.id.hex(),
            standing: if known.is_revoked {
                Standing::Revoked
            } else {
                Standing::Paired
            },
            paired_at: known.paired_at_ns.and_then(timestamp),
            complete_at: newest.and_then(timestamp),
            visiting: known.is_visiting,
        })
    }

    pub(super) fn sets_of(&self, known: &Known) -> Result<Vec<SetItem>> {
        let sets = self.spool.sets(&known.id)?;
        Ok(sets.iter().map(|record| item(known, record)).collect())
    }

    pub(super) fn status(&self) -> Result<HubStatus> {
        let known = self.known()?;
        let (mut sets_waiting, mut bytes_waiting) = (0, 0);
        for one in &known {
            let sets = self.spool.sets(&one.id)?;
            let waiting = sets.iter().filter_map(SetRecord::sealed);
            for sealed in waiting.filter(|sealed| !matches!(sealed.forward, Forward::Done { .. })) {
                sets_waiting += 1;
                bytes_waiting += sealed.bytes;
            }
        }
        let forwarding = self.forwarding.status();
        let name = |id| {
            known
                .iter()
                .find(|one| one.id == id)
                .map(|one| one.name.to_string())
        };
        let mut problems = self.problems.clone();
        let bytes_free = self.destination.disk().free_bytes()?;
        problems.extend(self.full(&known)?);
        if let Some(outage) = &forwarding.outage {
            let lasts = lasted(outage.lasts);
            problems.push(format!(
                "the upstream has taken nothing for {lasts}: {}",
                outage.why
            ));
        }
        // What fails all of them is told once.
        let is_told = |failure: &ForwardFailure| failure.is_upstream && forwarding.outage.is_some();
        for (laptop, failure) in forwarding.failed.iter().filter(|(_, failure)| !is_told(failure)) {
            let name = name(*laptop).unwrap_or_default();
            problems.push(format!("forwarding of {name} failed: {failure}"));
        }
        let forwards_at = match &self.config.forward {
            When::In(windows) => match windows.opens(wall_ns()) {
                Opening::At(at_ns) => timestamp(at_ns),
                Opening::Open => None,
            },
            When::Auto | When::Manual => None,
        };
        let upstream = self.destination.url();
        if upstream.is_none() {
            problems.push("no upstream is set: run `berthctl upstream set URL`".to_owned());
        }
        if let Some(UpstreamUrl::Pull(server)) = &upstream {
            let is_known = self.servers.list().iter().any(|one| one.name == *server);
            if self.serve.is_none() {
                problems.push(format!(
                    "the server {server} can't pull: put `serve = \"ADDR:PORT\"` into the settings, and restart"
                ));
            } else if !is_known {
                problems.push(format!(
                    "the server {server} can't pull: run `berthctl server add {server}`"
                ));
            }
        }
        let is_visiting = known.iter().filter(|one| one.is_visiting);
        Ok(HubStatus {
            hub: self.config.name.to_string(),
            key: self.key.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            radio: self.config.radio.to_string(),
            listen: self.listening.clone(),
            serve: self.serve.clone(),
            pairing: self.window.is_open(),
            laptops: known.iter().filter(|one| one.paired_at_ns.is_some()).count() as u64,
            visits: is_visiting
                .map(|one| Visiting {
                    laptop: one.name.to_string(),
                    key: one.id.hex(),
                })
                .collect(),
            upstream: upstream.map(|url| url.to_string()),
            forward: self.config.forward.to_string(),
            forwards_at,
            forward_bytes_per_second: self.config.forward_rate.map(|rate| rate.0.get()),
            outage: forwarding
                .outage
                .map(|outage| told(outage, wall_ns(), forwards_at)),
            forwarding: forwarding.under_way.into_iter().filter_map(name).collect(),
            sets_waiting,
            bytes_waiting,
            bytes_used: self.spool.used_bytes(),
            bytes_used_max: self.config.limits.spool_bytes_max,
            bytes_free,
            problems,
        })
    }

    /// Who is refused for want of room, as they are told.
    fn full(&self, known: &[Known]) -> Result<Vec<String>> {
        let zone = &self.config.time_zone;
        // One that has never been here uses nothing of its quota: it is refused only where everybody is.
        let nobody = LaptopId([0; 32]);
        if let Some(full) = self.spool.full(&nobody)? {
            return Ok(vec![in_words(&full, zone)]);
        }
        let mut problems = Vec::new();
        for one in known.iter().filter(|one| !one.is_revoked) {
            if let Some(full) = self.spool.full(&one.id)? {
                problems.push(format!("{}: {}", one.name, in_words(&full, zone)));
            }
        }
        Ok(problems)
    }
}

fn in_words(full: &Full, zone: &TimeZone) -> String {
    let size = |bytes| ByteSize(bytes).display().si().to_string();
    let time = |at_ns| {
        let at = timestamp(at_ns).map(|at| at.to_zoned(zone.clone()));
        at.map_or_else(|| "-".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M").to_string())
    };
    format!("{}. {}", full.in_words(size, time), full.advice())
}

/// Outside of the upstream's hours it is not tried before they begin.
fn told(outage: Outage, now_ns: i64, forwards_at: Option<Timestamp>) -> berth_ctl::Outage {
    let ns = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
    let next = outage
        .next_in
        .map(|wait| timestamp(now_ns.saturating_add(ns(wait))));
    berth_ctl::Outage {
        since: timestamp(now_ns.saturating_sub(ns(outage.lasts))),
        tries: outage.tries,
        why: outage.why.why,
        next_try_at: next.and_then(|at| at.max(forwards_at)),
    }
}

fn item(known: &Known, record: &SetRecord) -> SetItem {
    let sealed = record.sealed();
    let forwarded_at = sealed.and_then(|sealed| match sealed.forward {
        Forward::Done { at_ns, .. } => timestamp(at_ns),
        Forward::Waiting | Forward::Started { .. } => None,
    });
    SetItem {
        key: known.id.hex(),
        set: SetRow {
            laptop: known.name.to_string(),
            seq: record.seq.0,
            kind: sealed.map(|sealed| match sealed.kind {
                SetKind::Partial => "partial".to_owned(),
                SetKind::Complete => "complete".to_owned(),
            }),
            state: record.word().to_owned(),
            created_at: timestamp(record.created_at_ns),
            sealed_at: sealed.and_then(|sealed| timestamp(sealed.sealed_at_ns)),
            snapshot: sealed.map(|sealed| sealed.snapshot.to_string()),
            objects: sealed.map(|sealed| sealed.objects),
            bytes: sealed.map(|sealed| sealed.bytes),
            forwarded_at,
        },
    }
}

/// `None`: beyond what can be written down, from a laptop whose clock is.
pub(super) fn timestamp(ns: i64) -> Option<Timestamp> {
    Timestamp::from_nanosecond(ns.into()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_full_hub_waits_for_is_a_problem_in_one_line() {
        let full = Full {
            is_quota: false,
            waiting_bytes: 12_000_000_000,
            waiting_since_ns: Some(1_700_000_000_000_000_000),
            has_upstream: true,
        };
        let said = in_words(&full, &TimeZone::UTC);
        let begins = "the hub is full: 12.0 GB have waited for the upstream since 2023-11-14 22:13. ";
        assert!(said.starts_with(begins), "{said}");
    }
}
