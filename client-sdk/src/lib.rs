//! berth-client-sdk
