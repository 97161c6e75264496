//! Music on hold: a file of the operator's that the media process reads once it is in our hands. Until it
//! has, and where it cannot, whoever is held hears silence.

use std::path::Path;

use tracing::{info, warn};

use crate::control::message::{AudioFile, ControlError, LoadAudio, Sound};

/// What the media process calls it.
const NAME: &str = "hold_music";

/// Music on hold.
#[derive(Clone, Debug, Default)]
pub struct Music {
    path: Option<String>,
    is_loaded: bool,
}

impl Music {
    /// From this file; `None`: there is none.
    pub fn of(path: Option<&Path>) -> Self {
        Self { path: path.map(|path| path.to_string_lossy().into_owned()), is_loaded: false }
    }

    /// What a media process has to read first: each one anew.
    pub fn to_load(&mut self) -> Option<LoadAudio> {
        self.is_loaded = false;
        Some(LoadAudio { name: NAME.to_owned(), path: self.path.clone()? })
    }

    /// It has, or could not.
    pub fn loaded(&mut self, result: Result<(), ControlError>) {
        let path = self.path.as_deref().unwrap_or_default();
        match result {
            Ok(()) => {
                info!(path, "hold_music is loaded");
                self.is_loaded = true;
            }
            Err(error) => {
                let (code, message) = (error.code, error.message);
                warn!(
                    path,
                    ?code,
                    message,
                    "hold_music cannot be played: who is held hears silence"
                );
            }
        }
    }

    /// What is heard on hold.
    pub fn sound(&self) -> Sound {
        if self.is_loaded {
            Sound::File(AudioFile { name: NAME.to_owned() })
        } else {
            Sound::Silence
        }
    }
}
