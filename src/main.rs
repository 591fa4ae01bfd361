//! The `shiplap` command.

fn main() {}
