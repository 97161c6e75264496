//! Audio that was loaded beforehand, by name, and what is played of it. Files are read and understood by
//! whoever runs the registry, beside it: a disk may be slow.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tracing::error;

use super::{Output, Pending, Place, Registry, Result, Ticket, refuse};
use crate::audio::sound::{Recording, Sound, Times, Tone};
use crate::audio::wav;
use crate::control::message::{
    AudioLoaded, Cadence, ControlError, Done, ErrorCode, Level, LoadAudio, Outcome, Play, Repeat,
    Request, Sound as WantedSound, StopPlaying, UnloadAudio,
};
use crate::media::channel::{Command as CoreCommand, Token};

/// Recordings at once: the announcements of a large site.
const RECORDINGS_MAX: usize = 1_000;
/// What they take of memory together: 64 MiB are more than an hour.
const BYTES_MAX: usize = 64 << 20;
/// Files that are read at once, those included for which nobody waits any more: a disk that hangs must
/// not take a thread for each attempt.
pub const READING_MAX: usize = 4;
/// How long reading a file may take before whoever waits is told.
const READING_TIME_MAX: Duration = Duration::from_secs(5);

/// The recordings.
#[derive(Debug, Default)]
pub struct Audio {
    recordings: BTreeMap<String, Recording>,
    reading: BTreeMap<Token, Reading>,
}

/// A file that is being read.
#[derive(Debug)]
struct Reading {
    name: String,
    deadline: Instant,
    /// Who waits for it; nobody once it took too long.
    ticket: Option<Ticket>,
}

impl Audio {
    /// What a control command wants to hear.
    fn sound(&self, wanted: &WantedSound, repeat: Option<Repeat>) -> Result<Sound> {
        let times = repeat.map(|repeat| Times::Of(repeat.value()));
        let until_stopped = times.unwrap_or(Times::ForEver);
        match wanted {
            WantedSound::Tone(tone) => {
                let hz: Vec<u16> = tone.hz.iter().map(|hz| hz.value()).collect();
                let on_off_ms = &[(tone.on_ms.value(), tone.off_ms.value())];
                let level_dbov = tone.level_dbov.dbov();
                Ok(Sound::tone(Tone { hz: &hz, on_off_ms, level_dbov }, until_stopped))
            }
            WantedSound::Ringback(ringback) => {
                let Cadence { hz, on_off_ms } = ringback.cadence();
                let level_dbov = Level::default().dbov();
                Ok(Sound::tone(Tone { hz, on_off_ms, level_dbov }, until_stopped))
            }
            WantedSound::File(file) => match self.recordings.get(&file.name) {
                Some(recording) => {
                    Ok(Sound::recording(recording.clone(), times.unwrap_or(Times::Of(1))))
                }
                None => unknown("what.name", &file.name),
            },
            WantedSound::Silence if repeat.is_some() => {
                refuse(ErrorCode::BadArguments, "repeat: silence has no length to be repeated")
            }
            WantedSound::Silence => Ok(Sound::silence()),
        }
    }

    /// Keeps a recording under its name, in the place of one that had it.
    fn keep(&mut self, name: String, recording: Recording) -> Result<Outcome> {
        let others = self.recordings.iter().filter(|(other, _)| **other != name);
        let (count, bytes) = others
            .fold((0, 0), |(count, bytes), (_, other)| (count + 1, bytes + other.size_bytes()));
        if count >= RECORDINGS_MAX {
            let message = format!("name: {RECORDINGS_MAX} recordings are loaded already");
            return refuse(ErrorCode::NoCapacity, message);
        }
        if bytes + recording.size_bytes() > BYTES_MAX {
            let message = format!("path: recordings have {} MiB together", BYTES_MAX >> 20);
            return refuse(ErrorCode::NoCapacity, message);
        }
        let loaded = AudioLoaded { duration_ms: recording.duration_ms() };
        self.recordings.insert(name, recording);
        Ok(LoadAudio::outcome(loaded))
    }

    /// When somebody waits for a file too long.
    pub fn next_timeout(&self) -> Option<Instant> {
        let waited_for = self.reading.values().filter(|reading| reading.ticket.is_some());
        waited_for.map(|reading| reading.deadline).min()
    }
}

fn unknown<T>(place: &str, name: &str) -> Result<T> {
    refuse(ErrorCode::UnknownAudio, format!("{place}: no audio is loaded as `{name}`"))
}

/// The recording in a WAV file.
pub fn recording_of(file: &[u8]) -> Result<Recording> {
    let read = wav::read(file).and_then(|pcm| Recording::new(pcm).ok_or(wav::BadWav::NoAudio));
    read.map_err(|bad| ControlError::new(ErrorCode::Unsupported, format!("path: the file {bad}")))
}

/// A file that could not be read.
pub fn unreadable(why: impl std::fmt::Display) -> ControlError {
    ControlError::new(ErrorCode::SystemRefused, format!("path: {why}"))
}

impl Registry {
    pub(super) fn play(
        &mut self,
        ticket: Ticket,
        play: &Play,
        now: Instant,
    ) -> Result<Option<Outcome>> {
        let Place { thread, key, .. } = self.find(&play.call)?;
        let sound = self.audio.sound(&play.what, play.repeat)?;
        let command = CoreCommand::Play(key, play.leg, Box::new(sound));
        self.ask(thread, command, Pending::Simple(ticket, || Play::outcome(Done {})), now);
        Ok(None)
    }

    pub(super) fn stop_playing(
        &mut self,
        ticket: Ticket,
        stop: &StopPlaying,
        now: Instant,
    ) -> Result<Option<Outcome>> {
        let Place { thread, key, .. } = self.find(&stop.call)?;
        let command = CoreCommand::StopPlaying(key, stop.leg);
        self.ask(thread, command, Pending::Simple(ticket, || StopPlaying::outcome(Done {})), now);
        Ok(None)
    }

    pub(super) fn load_audio(
        &mut self,
        ticket: Ticket,
        load: LoadAudio,
        now: Instant,
    ) -> Result<Option<Outcome>> {
        if self.audio.reading.len() >= READING_MAX {
            let message = format!("path: {READING_MAX} files are being read already");
            return refuse(ErrorCode::NoCapacity, message);
        }
        let LoadAudio { name, path } = load;
        let token = self.next_token;
        self.next_token += 1;
        let deadline = now + READING_TIME_MAX;
        self.audio.reading.insert(token, Reading { name, deadline, ticket: Some(ticket) });
        self.outputs.push_back(Output::Read { token, path });
        Ok(None)
    }

    /// The file of an [`Output::Read`] was read, or was not.
    pub fn handle_recording(&mut self, token: Token, recording: Result<Recording>) {
        // What nobody waits for any more was refused, and changes nothing.
        let Some(Reading { name, ticket: Some(ticket), .. }) = self.audio.reading.remove(&token)
        else {
            return;
        };
        let answer = recording.and_then(|recording| self.audio.keep(name, recording));
        self.answer(ticket, answer);
    }

    pub(super) fn unload_audio(&mut self, unload: &UnloadAudio) -> Result<Outcome> {
        match self.audio.recordings.remove(&unload.name) {
            Some(_) => Ok(UnloadAudio::outcome(Done {})),
            None => unknown("name", &unload.name),
        }
    }

    /// Tells whoever waits for a file too long.
    pub(super) fn give_reading_up(&mut self, now: Instant) {
        let late = self.audio.reading.values_mut().filter(|reading| reading.deadline <= now);
        let late: Vec<Ticket> = late.filter_map(|reading| reading.ticket.take()).collect();
        for ticket in late {
            error!("a file of audio cannot be read in time");
            let seconds = READING_TIME_MAX.as_secs();
            self.answer(ticket, Err(unreadable(format!("not read within {seconds} s"))));
        }
    }
}

#[cfg(test)]
mod tests;
