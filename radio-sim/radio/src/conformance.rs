//! The suite that every radio must pass.
