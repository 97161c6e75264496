//! Files that somebody names and that may be anything.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::base::narrow::Narrow;

/// What is in a regular file of so many bytes at most. Waits for the disk, but never for whoever might
/// write to a pipe.
pub fn read(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::with_capacity(metadata.len().min(bytes_max as u64).narrow());
    // It may grow meanwhile.
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        return Err(io::Error::other(format!("larger than {bytes_max} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_bound_and_what_is_none_is_refused() {
        let directory = std::env::temp_dir().join(format!("linecard-file-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("file");
        std::fs::write(&path, [7; 100]).unwrap();
        assert_eq!(read(&path, 100).unwrap(), [7; 100]);
        assert!(read(&path, 99).unwrap_err().to_string().contains("99 bytes"));
        assert!(read(&directory, 100).unwrap_err().to_string().contains("regular"));
        assert_eq!(read(&directory.join("none"), 1).unwrap_err().kind(), io::ErrorKind::NotFound);
        let pipe = directory.join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        assert!(read(&pipe, 100).unwrap_err().to_string().contains("regular"), "and does not wait");
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
