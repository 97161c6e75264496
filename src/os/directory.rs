//! The private directory: where the control socket, the self-signed certificate and the call
//! records lie. It may be below a world-writable `/tmp`, so it is used only when nobody else can
//! have prepared it.

use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::base::fault::Fault;

/// Makes `directory` with mode 0700 unless it exists, and refuses one that another user owns or may
/// write to.
pub fn make_private(directory: &Path) -> Result<(), Fault> {
    let mut builder = std::fs::DirBuilder::new();
    match builder.recursive(true).mode(0o700).create(directory) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(Fault::new(
                format!("cannot make the directory: {error}"),
                directory.display(),
                "make it by hand and give it to this user, or choose another place with [media].control",
            ));
        }
        _ => {}
    }
    // Not following a link: somebody else could have put it there.
    let metadata = std::fs::symlink_metadata(directory).map_err(|error| {
        Fault::new(
            format!("cannot look at the directory: {error}"),
            directory.display(),
            "check its parents' permissions",
        )
    })?;
    let ours = metadata.uid() == rustix::process::geteuid().as_raw() || metadata.uid() == 0;
    if metadata.is_dir() && ours && metadata.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(Fault::new(
        "not a directory that only this user can write to",
        directory.display(),
        "remove it, or choose another place with [media].control",
    ))
}

/// Writes a file that only this user can read. An older file of the name is replaced, not
/// overwritten: whoever has it open keeps the old text.
pub fn write_private(path: &Path, text: &[u8]) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)?.write_all(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_others_can_write_to_is_refused() {
        let parent = std::env::temp_dir().join(format!("linecard-test-{}", std::process::id()));
        let directory = parent.join("private");
        make_private(&directory).unwrap();
        make_private(&directory).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);

        std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o777)).unwrap();
        let fault = make_private(&directory).unwrap_err().to_string();
        assert!(fault.contains("only this user"), "{fault}");

        let link = parent.join("link");
        std::os::unix::fs::symlink(&parent, &link).unwrap();
        assert!(make_private(&link).is_err());
        std::fs::remove_dir_all(&parent).unwrap();
    }
}
