//! berth-restore
