//! Trimtab: ships services and keeps them steady.

fn main() {}
