//! Backup servers that call the hub: an HTTPS endpoint where they start forwarding, ask what waits, and pull.
//!
//! Place: [`listen()`] -> a request with a server's token -> the hub's own calls below `/~berth/`, or a laptop's
//! repository below `/LAPTOP/`, as restic reads it from a REST server; the program stands behind both as [`Program`].
//! On the server
//! [`pull()`] calls.
//! Invariant: nobody without a token gets more than a refusal, late; nothing that a caller says changes the spool;
//! every wait has a deadline, every list a bound.

mod answer;
mod calls;
mod certificate;
mod client;
mod confirm;
mod listen;
mod locks;
mod protocol;
mod pull;
mod repository;
mod rest;
mod stall;
mod tokens;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use berth_bridge::{LaptopId, Spool};
use berth_wire::ObjectEntry;
use bytes::Bytes;

pub use certificate::{CERTIFICATE_FILE, Certificate, CertificateError};
pub use client::{CallError, HubClient};
pub use listen::listen;
pub use protocol::{Confirm, Confirming, ListedSet, Object, PULL, Waiting, WaitingLaptop};
pub use pull::{PullError, PullEvent, PullSummary, pull};
pub use tokens::{SERVERS_MAX, Server, Servers, ServersError};

/// What the endpoint asks of the hub's program. Calls may take as long as a disk or an upstream does; they come from
/// threads that may wait.
pub trait Program: Send + Sync + 'static {
    /// What the hub is called.
    fn hub(&self) -> String;
    /// Where the sets are.
    fn spool(&self) -> &Arc<Spool>;
    /// All laptops that have sets here, with their names.
    ///
    /// # Errors
    /// Why not, for a person.
    fn laptops(&self) -> Result<Vec<(LaptopId, String)>, String>;
    /// Bytes of an object that the spool has no more; `None`: they are not there either.
    ///
    /// # Errors
    /// Why not, for a person: the upstream fails, or there is none.
    fn behind(
        &self,
        laptop: &LaptopId,
        entry: &ObjectEntry,
        range: Range<u64>,
    ) -> Result<Option<Bytes>, String>;
    /// Begins to forward what waits.
    ///
    /// # Errors
    /// Why not, for a person.
    fn forward(&self) -> Result<(), String>;
    /// Where sets go, if that is set: a URL, or `pull:SERVER`.
    fn upstream(&self) -> Option<String>;
    /// 32 random bytes.
    fn nonce(&self) -> [u8; 32];
    /// Nanoseconds since 1970.
    fn wall_ns(&self) -> i64;
    /// Monotonic time.
    fn now(&self) -> Duration;
}
