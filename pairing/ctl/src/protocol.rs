//! What is asked and what is answered.
//!
//! Times are RFC 3339 in UTC, sizes are bytes. `laptop` is a laptop's name, `key` the 64 hexadecimal digits of its
//! public key.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a hub can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Request {
    /// Open the pairing window, or watch the one that is open: [`PairEvent`]s. It closes when nobody watches any more.
    Pair,
    /// Who was ever paired: [`Device`]s.
    Devices,
    /// Revoke a laptop: one [`Revoked`].
    Revoke {
        /// Its name, or the first digits of its key.
        laptop: String,
    },
    /// How the hub is: one [`HubStatus`].
    Status,
    /// The sets: [`SetItem`]s.
    Sets {
        /// Of this laptop only: its name, or the first digits of its key.
        #[serde(default)]
        laptop: Option<String>,
    },
    /// Forward now what waits, until it is upstream or says why not: [`ForwardEvent`]s.
    Forward {
        /// Of this laptop only: its name, or the first digits of its key.
        #[serde(default)]
        laptop: Option<String>,
    },
    /// Read every object of the spool and compare it with its name: [`VerifyEvent`]s.
    Verify,
    /// Check an upstream and use it from now on: one [`UpstreamSet`].
    SetUpstream {
        /// An absolute path or a `file://` URL.
        url: String,
    },
    /// The servers that may call: [`ServerRow`]s.
    Servers,
    /// Let a server call: one [`ServerAdded`].
    AddServer {
        /// What it is called.
        server: String,
    },
    /// Refuse a server: one [`ServerRemoved`].
    RemoveServer {
        /// What it is called.
        server: String,
    },
}

/// One line of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer<T> {
    /// The last line: it could not be done.
    Error {
        /// One line: what happened and what to do.
        error: String,
    },
    /// The last line: it is done.
    Done {
        /// Always true.
        done: bool,
    },
    /// One item. It has neither of the fields above.
    Item(T),
}

/// What happens while the pairing window is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum PairEvent {
    /// To be typed on the laptop.
    Code {
        /// In groups: `1234-5678`.
        code: String,
        /// Seconds until the window closes by itself.
        closes_in_s: u64,
    },
    /// It is still open; also a sign of life.
    Open {
        /// Seconds until the window closes by itself.
        closes_in_s: u64,
    },
    /// A pairing failed.
    Failed {
        /// Why.
        why: String,
    },
    /// A laptop was paired. Nothing follows.
    Paired {
        /// Which.
        laptop: String,
    },
    /// The window is closed. Nothing follows.
    Closed {
        /// Why.
        why: String,
    },
}

/// Whether a device is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Yes.
    Paired,
    /// No longer.
    Revoked,
}

/// One laptop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its name; not unique.
    pub laptop: String,
    /// Its key.
    pub key: String,
    /// Whether it is let in.
    pub standing: Standing,
    /// When it was paired (last).
    pub paired_at: Option<Timestamp>,
    /// When its newest complete set was sealed.
    pub complete_at: Option<Timestamp>,
    /// A visit is under way.
    pub visiting: bool,
}

/// A laptop that was revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// Its name.
    pub revoked: String,
    /// Its key.
    pub key: String,
    /// A visit was under way, and was cut.
    pub was_visiting: bool,
}

/// A set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetRow {
    /// Whose.
    pub laptop: String,
    /// Its number.
    pub seq: u64,
    /// `partial` or `complete`; nothing while it is open.
    pub kind: Option<String>,
    /// `open`, `partial`, `complete`, `forwarding` or `forwarded`.
    pub state: String,
    /// When its visit began, by the laptop's clock.
    pub created_at: Option<Timestamp>,
    /// When it was sealed.
    pub sealed_at: Option<Timestamp>,
    /// Its snapshot's id.
    pub snapshot: Option<String>,
    /// Objects.
    pub objects: Option<u64>,
    /// Bytes of them.
    pub bytes: Option<u64>,
    /// When the upstream had all of it, checked.
    pub forwarded_at: Option<Timestamp>,
}

/// A set, and whose it is beyond doubt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetItem {
    /// The laptop's key.
    pub key: String,
    /// The set.
    #[serde(flatten)]
    pub set: SetRow,
}

/// A visit that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visiting {
    /// Whose.
    pub laptop: String,
    /// The laptop's key.
    pub key: String,
}

/// How the hub is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubStatus {
    /// Its name.
    pub hub: String,
    /// Its key.
    pub key: String,
    /// Of the program.
    pub version: String,
    /// `bluez`, `air:SOCKET` or `none`.
    pub radio: String,
    /// Where it listens beside the radio.
    pub listen: Option<String>,
    /// Where backup servers call.
    #[serde(default)]
    pub serve: Option<Serve>,
    /// The pairing window is open.
    pub pairing: bool,
    /// Laptops that are let in.
    pub laptops: u64,
    /// Whose visits are under way.
    pub visits: Vec<Visiting>,
    /// Where sets go.
    pub upstream: Option<String>,
    /// `auto`, `manual`, or the hours in which sets are forwarded.
    pub forward: String,
    /// When these begin again, while the hub is outside of them.
    pub forwards_at: Option<Timestamp>,
    /// At most so many bytes are forwarded in a second.
    pub forward_bytes_per_second: Option<u64>,
    /// Whose sets are on their way upstream.
    pub forwarding: Vec<String>,
    /// The upstream takes nothing.
    pub outage: Option<Outage>,
    /// Sets that are not upstream.
    pub sets_waiting: u64,
    /// Bytes of them.
    pub bytes_waiting: u64,
    /// Bytes that laptops' backups take up.
    #[serde(default)]
    pub bytes_used: u64,
    /// The most that they may, besides what the disk has.
    #[serde(default)]
    pub bytes_used_max: Option<u64>,
    /// Free room for the spool, its reserve counted.
    pub bytes_free: u64,
    /// What needs somebody's attention, one line each.
    pub problems: Vec<String>,
}

/// Where backup servers call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serve {
    /// Address and port.
    pub address: String,
    /// SHA-256 of the certificate: 32 pairs of digits between colons.
    pub fingerprint: String,
    /// File of the certificate, PEM.
    pub certificate: String,
}

/// An upstream that takes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// Since when; nothing where the hub's clock is out of all bounds.
    pub since: Option<Timestamp>,
    /// Tries that failed, since the hub was started.
    pub tries: u64,
    /// What the last one failed with, and what to do.
    pub why: String,
    /// When it is tried next; nothing where somebody has to ask.
    pub next_try_at: Option<Timestamp>,
}

/// What happens while sets are forwarded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ForwardEvent {
    /// What of a set is to be sent is known.
    Begun {
        /// Whose.
        laptop: String,
        /// The set.
        set: u64,
        /// Objects.
        objects: u64,
        /// Bytes of them.
        bytes: u64,
    },
    /// So much of it is upstream; also a sign of life.
    Progress {
        /// Whose.
        laptop: String,
        /// The set.
        set: u64,
        /// Bytes sent.
        bytes_sent: u64,
    },
    /// Somebody works on the upstream; it goes on when they are done.
    Waiting {
        /// Whose.
        laptop: String,
        /// The set.
        set: u64,
    },
    /// The set is upstream, checked.
    Forwarded {
        /// Whose.
        laptop: String,
        /// The set.
        set: u64,
    },
    /// It stopped; the rest waits.
    Failed {
        /// Whose.
        laptop: String,
        /// Why.
        why: String,
    },
}

/// What comes of reading the spool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum VerifyEvent {
    /// So much was read; also a sign of life.
    Progress {
        /// Objects.
        objects: u64,
        /// Bytes of them.
        bytes: u64,
    },
    /// Something is not what it was.
    Fault {
        /// Whose.
        laptop: String,
        /// The first set that needs it.
        set: u64,
        /// The file, below the state folder.
        path: String,
        /// `missing` or `damaged`.
        what: String,
    },
    /// All was read. Nothing follows.
    Verified {
        /// Objects.
        objects: u64,
        /// Bytes of them.
        bytes: u64,
        /// Objects that are upstream only: they were removed from the spool when room was needed.
        #[serde(default)]
        reclaimed: u64,
        /// Objects that are missing or damaged.
        faults: u64,
    },
}

/// The upstream that is used from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamSet {
    /// What was stored.
    pub upstream: String,
    /// What goes before it: given by `--upstream` or by the configuration.
    pub overridden_by: Option<String>,
}

/// A server that may call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRow {
    /// What it is called.
    pub server: String,
    /// Since when.
    pub added_at: Option<Timestamp>,
}

/// A server that may call from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerAdded {
    /// What it is called.
    pub server: String,
    /// Its token, told this once.
    pub token: String,
    /// Where it calls; nothing while the hub does not listen.
    pub serve: Option<Serve>,
}

/// A server that is refused from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRemoved {
    /// What it was called.
    pub removed: String,
}
