//! The hub's side of a visit and of what follows: receive, keep, seal, forward.
//!
//! Place: `wire::Frame<ToHub>` -> [`Receiver`] -> [`StoreOp`] -> [`Visit`] of a [`Spool`] (files) and its [`Journal`]
//! (what they mean) -> [`Forwarder`] -> [`Upstream`].
//! Invariant: nothing is acknowledged before it and its folder entry are synced; nothing sealed is changed by a
//! laptop; the upstream never shows a snapshot whose packs it lacks.

mod behind;
mod check;
mod ended;
mod folder;
mod forward;
mod journal;
mod lengths;
mod locks;
mod names;
mod op;
mod receiver;
mod reclaim;
mod record;
mod repair;
mod room;
mod seal;
mod sealed;
mod serve;
mod signatures;
mod spool;
mod spool_file;
mod tails;
mod upstream;
mod verify;
mod visit;

pub use behind::Behind;
pub use ended::{End, Ended, ReceiveError};
pub use folder::FolderUpstream;
pub use forward::{ForwardError, Forwarder, Progress};
pub use journal::{Journal, JournalError, OnSynced, Opened};
pub use locks::{LOCK_AGE_MAX_NS, LOCK_RETRY_NS};
pub use names::{LaptopId, repository_path};
pub use op::{Checkpoint, StoreDone, StoreError, StoreOp};
pub use receiver::{
    ASKED_MAX, Effect, Input, PACK_HEADER_SIZE_BYTES_MAX, Receiver, SMALL_OBJECT_SIZE_BYTES_MAX,
    SNAPSHOT_SIZE_BYTES_MAX, UPLOADS_MAX, UPLOADS_OPEN_MAX, size_bytes_max,
};
pub use reclaim::ROOM_SIZE_BYTES_MIN;
pub use record::{Forward, Reclaimed, Sealed, SetRecord, SetState};
pub use repair::Repair;
pub use room::Limits;
pub use signatures::Signatures;
pub use spool::{LAPTOPS_MAX, RESERVE_SIZE_BYTES, SET_SEQ_MAX, Spool};
pub use upstream::{Lock, NameTaken, Upstream, UpstreamError, check_range, repository_name};
pub use verify::Verified;
pub use visit::Visit;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visits_and_forwarders_may_live_on_threads_of_their_own() {
        const fn is_send<T: Send>() {}
        const fn is_sync<T: Sync>() {}
        is_send::<Visit>();
        is_send::<Forwarder>();
        is_send::<Receiver>();
        is_send::<StoreOp>();
        is_send::<StoreDone>();
        is_sync::<Spool>();
    }
}
