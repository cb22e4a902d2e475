//! Starts the runtime and maps errors to exit codes.
fn main() {}
