//! What media plays out of a leg by itself: tones, ringback, audio that was loaded beforehand.

use serde::{Deserialize, Deserializer, Serialize, de};

use super::reading::{kinds, ranged};
use super::terms::{CallName, Side};

/// Frequencies that sound together in one tone.
pub const FREQUENCIES_MAX: usize = crate::audio::sound::FREQUENCIES_MAX;
/// The longest name of loaded audio.
pub const AUDIO_NAME_BYTES_MAX: usize = 64;
/// The longest path of a file (Linux's PATH_MAX).
pub const PATH_BYTES_MAX: usize = 4096;

/// Arguments of `play`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Play {
    /// The call.
    pub call: CallName,
    /// The leg whose far end hears it.
    pub leg: Side,
    /// What it hears.
    pub what: Sound,
    /// How often; absent: a file once, everything else until it is stopped.
    #[serde(default)]
    pub repeat: Option<Repeat>,
}

/// Arguments of `stop_playing`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StopPlaying {
    /// The call.
    pub call: CallName,
    /// The leg.
    pub leg: Side,
}

ranged! {
    /// How often something is played.
    pub struct Repeat(u16): |times: u64| (1..=10_000).contains(&times), "must be 1 to 10000";
}

kinds! {
    /// Something to hear.
    #[derive(Clone, Debug, PartialEq)]
    pub enum Sound {
        /// Frequencies, on and off.
        "tone" => Tone(Tone),
        /// What a caller of a country hears while the far end rings.
        "ringback" => Ringback(Ringback),
        /// Audio that was loaded beforehand.
        "file" => File(AudioFile),
        /// Nothing, in place of the other leg.
        "silence" => Silence,
    }
}

/// Frequencies, on and off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tone {
    /// 1 to [`FREQUENCIES_MAX`] at once.
    #[serde(deserialize_with = "frequencies")]
    pub hz: Vec<Frequency>,
    /// How long it sounds.
    pub on_ms: On,
    /// How long it is silent before it sounds again; 0: not at all.
    #[serde(default)]
    pub off_ms: Off,
    /// Level of all frequencies together; default -20, as a ringing tone has (ITU-T E.180 §3).
    #[serde(default)]
    pub level_dbov: Level,
}

ranged! {
    /// A frequency of telephony's band in Hz.
    pub struct Frequency(u16): |hz: u64| (50..=3_800).contains(&hz), "must be 50 to 3800";
}

ranged! {
    /// How long a tone sounds, in milliseconds.
    pub struct On(u16): |ms: u64| (20..=60_000).contains(&ms), "must be 20 to 60000";
}

ranged! {
    /// How long a tone is silent, in milliseconds.
    #[derive(Default)]
    pub struct Off(u16): |ms: u64| ms <= 60_000, "must be 0 to 60000";
}

/// A level in dB below overload (RFC 6464 §3): -60 to 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Level(i8);

impl Level {
    /// `None` out of range.
    pub fn new(dbov: i8) -> Option<Self> {
        (-60..=0).contains(&dbov).then_some(Self(dbov))
    }

    /// In dBov.
    pub const fn dbov(self) -> i8 {
        self.0
    }
}

impl Default for Level {
    fn default() -> Self {
        Self(-20)
    }
}

impl TryFrom<i64> for Level {
    type Error = &'static str;

    fn try_from(dbov: i64) -> Result<Self, Self::Error> {
        i8::try_from(dbov).ok().and_then(Self::new).ok_or("must be -60 to 0")
    }
}

impl From<Level> for i64 {
    fn from(level: Level) -> i64 {
        level.0.into()
    }
}

fn frequencies<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Frequency>, D::Error> {
    let hz = Vec::<Frequency>::deserialize(from)?;
    if hz.is_empty() || hz.len() > FREQUENCIES_MAX {
        return Err(de::Error::custom(format_args!(
            "must list 1 to {FREQUENCIES_MAX} frequencies"
        )));
    }
    Ok(hz)
}

/// The ringing tone of a country.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ringback {
    /// Whose; absent: 425 Hz, 1 s in 5, as ITU-T E.180 §4 recommends and most of Europe does.
    #[serde(default)]
    pub country: Option<Country>,
}

/// A country by its ISO 3166 code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Country {
    /// Canada.
    Ca,
    /// Germany.
    De,
    /// Spain.
    Es,
    /// France.
    Fr,
    /// The United Kingdom.
    Gb,
    /// Italy.
    It,
    /// The United States.
    Us,
}

/// A tone in a rhythm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cadence {
    /// What sounds together.
    pub hz: &'static [u16],
    /// Milliseconds on and off, in turn, then from the first again.
    pub on_off_ms: &'static [(u16, u16)],
}

impl Ringback {
    /// As Supplement 2 to ITU-T E.180 (01/94), "Various tones used in national networks", lists it.
    pub const fn cadence(self) -> Cadence {
        let Some(country) = self.country else {
            return Cadence { hz: &[425], on_off_ms: &[(1_000, 4_000)] };
        };
        match country {
            Country::Ca | Country::Us => Cadence { hz: &[440, 480], on_off_ms: &[(2_000, 4_000)] },
            Country::De | Country::It => Cadence { hz: &[425], on_off_ms: &[(1_000, 4_000)] },
            Country::Es => Cadence { hz: &[425], on_off_ms: &[(1_500, 3_000)] },
            Country::Fr => Cadence { hz: &[440], on_off_ms: &[(1_500, 3_500)] },
            Country::Gb => Cadence { hz: &[400, 450], on_off_ms: &[(400, 200), (400, 2_000)] },
        }
    }
}

/// Audio by the name it was loaded under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioFile {
    /// The name.
    #[serde(deserialize_with = "audio_name")]
    pub name: String,
}

/// Arguments of `load_audio`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadAudio {
    /// The name to play it by: 1 to [`AUDIO_NAME_BYTES_MAX`] printable ASCII characters. Audio that
    /// had it is replaced; what plays it goes on with the old.
    #[serde(deserialize_with = "audio_name")]
    pub name: String,
    /// A WAV file, by its absolute path where the media process sees it.
    #[serde(deserialize_with = "absolute_path")]
    pub path: String,
}

/// Result of `load_audio`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AudioLoaded {
    /// How long it lasts.
    pub duration_ms: u64,
}

/// Arguments of `unload_audio`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnloadAudio {
    /// The name it was loaded under. What plays it goes on.
    #[serde(deserialize_with = "audio_name")]
    pub name: String,
}

fn audio_name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    let printable = name.bytes().all(|byte| byte.is_ascii_graphic());
    if !printable || !(1..=AUDIO_NAME_BYTES_MAX).contains(&name.len()) {
        return Err(de::Error::custom(format_args!(
            "must be 1 to {AUDIO_NAME_BYTES_MAX} printable ASCII characters"
        )));
    }
    Ok(name)
}

fn absolute_path<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let path = String::deserialize(from)?;
    if !path.starts_with('/') || path.len() >= PATH_BYTES_MAX || path.contains('\0') {
        return Err(de::Error::custom("must be an absolute path"));
    }
    Ok(path)
}

/// Why something is no longer played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlayEnd {
    /// It was played as often as was asked.
    Finished,
    /// `stop_playing`.
    Stopped,
    /// Another `play` took its place.
    Replaced,
    /// Its leg was replaced.
    LegReplaced,
    /// A reason that this client does not know.
    #[serde(other)]
    Unknown,
}
