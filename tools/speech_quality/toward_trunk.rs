//! Browser to trunk.
use crate::Run;
use serde_json::Value;
pub fn run(_run: &Run) -> Result<Value, String> {
    Err("soon".into())
}
