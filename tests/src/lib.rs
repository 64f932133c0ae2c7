//! What tests and benchmarks of the whole system share: made-up folders, comparison of folders, the real restic.

pub mod compare;
pub mod corpus;
pub mod restic;
