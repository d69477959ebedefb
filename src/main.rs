//! The `transvase` command: parse, run, print, exit code.
fn main() {}
