//! The program `mooring-operator`.

fn main() {}
