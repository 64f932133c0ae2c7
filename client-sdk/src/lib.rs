//! The archiver of the laptop: scan -> chunk -> hash -> known? -> compress -> seal -> pack, cut anywhere. And [`Reading`],
//! the visit that reads back.
//!
//! Place: the user's files ([`Source`]) -> [`Visit`] -> wire messages to one hub. The [`Visit`] owns no socket, clock,
//! thread or random source: a driver asks it for the [`Step`] it can take and hands it what the hub answers.
//! Invariant: the laptop's state folder is consistent after any cut, also of the power; nothing counts as safe that
//! this hub has not acknowledged or holds in a sealed set.

mod catalogue;
mod chunker;
mod claims;
mod encoding;
mod entry;
mod finding;
mod known;
mod look_back;
mod reading;
mod repository;
mod rules;
mod scan;
mod source;
mod visit;

pub use chunker::{CHUNK_SIZE_BYTES_AVERAGE, CHUNK_SIZE_BYTES_MAX, CHUNK_SIZE_BYTES_MIN};
pub use finding::Finding;
pub use look_back::LookBack;
pub use reading::{
    ANSWER_MAX, Answer, Ask, BYTES_IN_FLIGHT_MAX, QUESTIONS_IN_FLIGHT_MAX, Question, Reading, ReadingStep,
};
pub use repository::{LaptopRepository, RepositoryError};
pub use source::{FileKind, Metadata, OsSource, Source, SourceFile, Timestamp, Xattrs};
pub use visit::{
    Keys, NOT_READ_NAMED_MAX, NotRead, NotReadReason, Outgoing, Progress, Rules, SealStage, SealedSet, Step,
    Summary, Visit, VisitError, VisitOptions,
};
