//! The restic repository format, version 2: bytes in and out, no IO.

mod id;

pub use id::Id;
