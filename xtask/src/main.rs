//! What the repository makes from its own sources.

fn main() {}
