//! Ceremony tests.
