//! berth-bench
