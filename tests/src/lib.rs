//! What tests and benchmarks of the whole system share: made-up folders, comparison of folders, the real restic, and a
//! simulated world.

pub mod compare;
pub mod corpus;
pub mod programs;
pub mod restic;
pub mod world;
