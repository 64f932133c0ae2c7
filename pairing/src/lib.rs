//! berth-pairing
