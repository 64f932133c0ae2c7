//! berth-radio-sim
