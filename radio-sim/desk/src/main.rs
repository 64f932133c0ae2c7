//! desk

fn main() {}
