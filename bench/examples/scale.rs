//! What a fleet asks of one S3 upstream: requests, their price, and how a window is used. The figures of `docs/scale.md`:
//!
//! ```sh
//! cargo run --release -p berth-bench --example scale
//! ```
//!
//! Method: one night is played request by request. Hubs begin when the daemon's own [`Windows`] says so, and send the sets of
//! [`LAPTOPS_AT_ONCE`] laptops side by side. The requests of a set are those that
//! `a_set_costs_three_looks_at_its_repository_and_one_write_for_each_object` holds the forwarder to, as `bridge/upstream`
//! makes them at S3: a listing is a request for each 1,000 names, a `config` is a HEAD and a GET.
#![expect(clippy::print_stdout, reason = "a program")]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use anyhow::{Context, Result};
use berth_daemon::{LAPTOPS_AT_ONCE, Opening, Windows};
use jiff::Timestamp;
use jiff::tz::TimeZone;

const HUBS: u64 = 1_000;
const LAPTOPS_A_HUB: u64 = 10;

/// Hours that suit the server.
const WINDOW: &str = "01:00-05:00";
const WINDOW_S: u64 = 4 * 3600;

/// What the client closes a pack at.
const PACK_BYTES: u64 = 16 * 1024 * 1024;
/// Of an index and of a snapshot, about.
const SMALL_BYTES: u64 = 100_000;
/// Names in one answer to a listing.
const PAGE: u64 = 1_000;

/// A request that moves next to nothing, over the internet.
const LATENCY_MS: u64 = 50;
const MS_A_SECOND: u64 = 1_000;

/// Dollars for 1,000 requests, and for a GB and month: S3 Standard, us-east-1 (aws.amazon.com/s3/pricing; the first of its
/// storage tiers, more is cheaper).
const DOLLARS_1000_PUT_LIST: f64 = 0.005;
const DOLLARS_1000_GET_HEAD: f64 = 0.0004;
const DOLLARS_GB_MONTH: f64 = 0.023;

/// One kind of day.
struct Day {
    name: &'static str,
    /// In each laptop's repository.
    packs: u64,
    indexes: u64,
    snapshots: u64,
    /// Of each laptop, all of it in the night's window.
    sets: u64,
    bytes_a_set: u64,
    /// Bytes a second from a hub.
    uplink: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Kind {
    Get,
    List,
    Put,
}

/// Milliseconds after the window began, whose: a place in the list of lanes.
type Next = Reverse<(u64, usize)>;

/// One of a hub's laptops at a time.
struct Lane {
    hub: usize,
    requests: VecDeque<(Kind, u64)>,
}

struct Night {
    requests: BTreeMap<Kind, u64>,
    /// By second.
    each_second: Vec<u64>,
    bytes_each_second: Vec<u64>,
    laptops_left: u64,
    hubs_at_once_max: usize,
    ended_s: Vec<u64>,
}

fn main() -> Result<()> {
    let office = Day {
        name: "an office day: 100 GB a laptop, 8 sets of 60 MB",
        packs: 6_000,
        indexes: 300,
        snapshots: 100,
        sets: 8,
        bytes_a_set: 60_000_000,
        uplink: 5_000_000,
    };
    let days = [
        Day {
            name: "the same, 1 TB a laptop",
            packs: 60_000,
            indexes: 800,
            ..office
        },
        Day {
            name: "the same, behind 1 MB/s",
            uplink: 1_000_000,
            ..office
        },
        Day {
            name: "the first night: one set of 100 GB a laptop",
            packs: 0,
            indexes: 0,
            snapshots: 0,
            sets: 1,
            bytes_a_set: 100_000_000_000,
            ..office
        },
        Day {
            name: "a week without the upstream, then 56 sets a laptop",
            sets: 56,
            ..office
        },
    ];
    println!("{HUBS} hubs, {LAPTOPS_A_HUB} laptops each, window {WINDOW}");
    for day in std::iter::once(&office).chain(&days) {
        tell(day, &played(day)?);
    }
    Ok(())
}

/// When each hub begins, in milliseconds of the window.
fn begins() -> Result<Vec<u64>> {
    let opens: Timestamp = "2026-11-24T01:00:00Z".parse()?;
    let opens_ns = i64::try_from(opens.as_nanosecond())?;
    let begin = |hub: u64| {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&hub.to_be_bytes());
        let windows = Windows::parse(&[WINDOW])?.of(TimeZone::UTC, key);
        match windows.opens(opens_ns) {
            Opening::Open => Ok(0),
            Opening::At(at_ns) => Ok(u64::try_from((at_ns - opens_ns) / 1_000_000)?),
        }
    };
    (0..HUBS).map(begin).collect()
}

/// All that a laptop's sets ask, in order, with the bytes that go up.
fn requests(day: &Day) -> VecDeque<(Kind, u64)> {
    let mut all = VecDeque::new();
    let mut push = |kind, count, bytes| (0..count).for_each(|_| all.push_back((kind, bytes)));
    let pages = |names: u64| names.div_ceil(PAGE).max(1);
    // Which folder is the laptop's.
    push(Kind::Get, 2, 0);
    let packs_a_set = day.bytes_a_set.div_ceil(PACK_BYTES);
    for set in 0..day.sets {
        let packs = day.packs + set * packs_a_set;
        let look = |packs| 1 + pages(packs) + pages(day.indexes + set);
        // Locks, the config, what is there.
        push(Kind::List, 1, 0);
        push(Kind::Get, 2, 0);
        push(Kind::List, look(packs), 0);
        push(Kind::Put, packs_a_set, PACK_BYTES.min(day.bytes_a_set));
        push(Kind::Put, 1, SMALL_BYTES);
        // Before the snapshot, and after it.
        push(Kind::List, 1, 0);
        push(Kind::Get, 2, 0);
        push(Kind::List, look(packs + packs_a_set), 0);
        push(Kind::Put, 1, SMALL_BYTES);
        push(Kind::List, 1 + pages(day.snapshots + set), 0);
        push(Kind::Get, 2, 0);
        push(Kind::List, look(packs + packs_a_set), 0);
    }
    all
}

fn played(day: &Day) -> Result<Night> {
    let begins = begins()?;
    let lanes_a_hub = u64::try_from(LAPTOPS_AT_ONCE)?;
    let mut waiting: Vec<u64> = begins.iter().map(|_| LAPTOPS_A_HUB).collect();
    let mut lanes = Vec::new();
    let mut queue: BinaryHeap<Next> = BinaryHeap::new();
    for (hub, begin) in begins.iter().enumerate() {
        for _ in 0..lanes_a_hub {
            queue.push(Reverse((*begin, lanes.len())));
            let requests = VecDeque::new();
            lanes.push(Lane { hub, requests });
        }
    }
    let seconds = usize::try_from(WINDOW_S)?;
    let mut night = Night {
        requests: BTreeMap::new(),
        each_second: vec![0; seconds],
        bytes_each_second: vec![0; seconds],
        laptops_left: 0,
        hubs_at_once_max: 0,
        ended_s: Vec::new(),
    };
    let (mut at_work, mut idle_lanes) = (0_usize, vec![lanes_a_hub; begins.len()]);
    while let Some(Reverse((at_ms, place))) = queue.pop() {
        let lane = lanes.get_mut(place).context("no such lane")?;
        let (left, idle) = (&mut waiting[lane.hub], &mut idle_lanes[lane.hub]);
        if lane.requests.is_empty() && *left > 0 {
            *left -= 1;
            lane.requests = requests(day);
        }
        let (Some((kind, bytes)), second) =
            (lane.requests.pop_front(), usize::try_from(at_ms / MS_A_SECOND)?)
        else {
            if *idle + 1 == lanes_a_hub {
                at_work -= 1;
                night.ended_s.push(at_ms / MS_A_SECOND);
            }
            *idle += 1;
            continue;
        };
        if second >= seconds {
            night.laptops_left += 1;
            lane.requests.clear();
            continue;
        }
        // Its first request.
        if at_ms == begins[lane.hub] {
            at_work += usize::from(*idle == lanes_a_hub);
            *idle -= 1;
            night.hubs_at_once_max = night.hubs_at_once_max.max(at_work);
        }
        *night.requests.entry(kind).or_default() += 1;
        night.each_second[second] += 1;
        let moved_ms = bytes * MS_A_SECOND / (day.uplink / lanes_a_hub);
        let until_s = usize::try_from(moved_ms / MS_A_SECOND)?;
        for moving in second..=(second + until_s).min(seconds - 1) {
            night.bytes_each_second[moving] += bytes / (u64::try_from(until_s)? + 1);
        }
        queue.push(Reverse((at_ms + LATENCY_MS + moved_ms, place)));
    }
    night.laptops_left += waiting.iter().sum::<u64>();
    Ok(night)
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn tell(day: &Day, night: &Night) {
    let of = |kind| night.requests.get(&kind).copied().unwrap_or(0);
    let all: u64 = night.requests.values().sum();
    let peak = |each: &[u64]| {
        let minutes = each.chunks(60).map(|minute| minute.iter().sum::<u64>() / 60);
        minutes.max().unwrap_or(0)
    };
    let laptops = HUBS * LAPTOPS_A_HUB;
    println!("\n{}, {} MB/s a hub", day.name, day.uplink / 1_000_000);
    let [get, list, put] = [Kind::Get, Kind::List, Kind::Put].map(of);
    println!("  requests          {all}: {list} LIST, {put} PUT, {get} GET and HEAD");
    println!(
        "  a second          {} in the busiest minute, {:.0} over the window",
        peak(&night.each_second),
        all as f64 / WINDOW_S as f64
    );
    println!(
        "  MB a second       {} in the busiest minute; {} hubs at once at most",
        peak(&night.bytes_each_second) / 1_000_000,
        night.hubs_at_once_max
    );
    let mut ended = night.ended_s.clone();
    ended.sort_unstable();
    let end = |share: usize| ended.get(ended.len() * share / 100).map(|second| second / 60);
    match (night.laptops_left, end(50), ended.last()) {
        (0, Some(half), Some(last)) => {
            println!(
                "  done              half of the hubs after {half} min, all after {} min",
                last / 60
            );
        }
        (left, ..) => println!(
            "  not done          {left} of {laptops} laptops; {} hubs are done",
            ended.len()
        ),
    }
    let paid =
        (list + put) as f64 / 1_000.0 * DOLLARS_1000_PUT_LIST + get as f64 / 1_000.0 * DOLLARS_1000_GET_HEAD;
    let packs = laptops * day.packs + put;
    println!(
        "  dollars           {paid:.0} for the requests; {:.0} a month for what is stored then",
        (packs * PACK_BYTES) as f64 / 1e9 * DOLLARS_GB_MONTH
    );
}
