//! berth-bridge
