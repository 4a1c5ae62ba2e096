//! Developer commands: test, bench, soak.

fn main() {}
