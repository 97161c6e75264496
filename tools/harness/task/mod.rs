//! What the command line can ask for, one file a command; here what they share.

pub mod against;
pub mod compare;
pub mod kill;
pub mod load;
pub mod probe;

use std::path::Path;

use serde_json::{Value, json};

use crate::arguments::MachineArguments;
use crate::machine::Cores;

/// Before the first run: a report that cannot be written is known now, not after an hour.
fn check_writable(json: Option<&Path>, page: Option<&Path>) -> Result<(), String> {
    json.map_or(Ok(()), |path| write_json(path, &json!({})))?;
    page.map_or(Ok(()), |path| write_page(path, ""))
}

/// Which cores to use.
fn cores(arguments: &MachineArguments) -> Result<Cores, String> {
    let mut cores = Cores::here()?;
    let there: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
    for (place, asked, option) in [
        (&mut cores.engine, arguments.engine_core, "--engine-core"),
        (&mut cores.generator, arguments.generator_core, "--generator-core"),
    ] {
        if let Some(core) = asked {
            if !there.contains(&core) {
                return Err(format!("{option} {core}: write one of {there:?}"));
            }
            *place = core;
        }
    }
    if cores.engine == cores.generator {
        return Err("engine and generator need a core each: write --engine-core and \
                    --generator-core with two numbers"
            .to_owned());
    }
    Ok(cores)
}

/// Writes a page.
fn write_page(path: &Path, page: &str) -> Result<(), String> {
    std::fs::write(path, page).map_err(|error| format!("--page {}: {error}", path.display()))
}

/// Writes one object.
fn write_json(path: &Path, object: &Value) -> Result<(), String> {
    let text = format!("{object:#}\n");
    std::fs::write(path, text).map_err(|error| format!("--json {}: {error}", path.display()))
}
