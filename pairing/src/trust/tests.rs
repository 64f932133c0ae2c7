//! Trust tests.
