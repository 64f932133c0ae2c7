//! Reading a repository back: snapshots, lists, single files, whole folders, check.
//!
//! Place: upstream, spool or a hub over the link -> [`ObjectSource`] -> [`Repository`] -> a folder. Neither laptop state
//! nor hub is needed: a source and a recovery key are enough.
//! Specification: the restic repository format. Decoding it (snapshots, index, packs, trees) is `rustic_core`'s work and is
//! used in one module only, `engine`. Writing a folder is ours, because `rustic_core` 0.13 joins names to paths
//! unchecked, follows symlinks that lie in the target, only logs metadata it could not set, and links files that share
//! an inode number even where their content differs (which is so in a partial snapshot).
//! Invariant: whatever a repository says, nothing is read, written or changed outside the target folder.

mod ahead;
pub mod compare;
mod engine;
mod entry;
mod error;
mod names;
mod repository;
mod restore;
mod source;
mod target;

pub use entry::{Entry, ExtendedAttribute, Kind, Time};
pub use error::{LeftOut, Problem, RestoreError, Trouble};
pub use repository::{CheckDepth, Depth, Finding, Listed, Repository, Severity, Snapshot};
pub use restore::{Existing, PROBLEMS_MAX, Progress, Report};
pub use source::{CONFIG_ID, FolderSource, ObjectKind, ObjectSource, Pending};
