//! linecard
fn main() {}
