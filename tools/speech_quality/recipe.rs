//! How speech is encoded toward a browser: a rung of the ladder, or one made up to try it.

use std::str::FromStr;

use linecard::audio::opus::{EncoderMode, EncoderSettings};
use serde_json::Value;

/// What is tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// As it was written.
    pub name: String,
    /// The encoder.
    pub settings: EncoderSettings,
    /// Whether each packet carries the one before as well (RFC 2198).
    pub redundancy: bool,
}

const FORM: &str = "write a recipe as silk,36k,cx0,fec10 (mode, bit rate, complexity, and fec with the \
                    loss to expect) or celt,40k,cx0,red";

impl FromStr for Recipe {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut settings =
            EncoderSettings { fec: false, expected_loss_percent: 0, ..EncoderSettings::default() };
        let mut redundancy = false;
        for part in text.split(',') {
            let number = |prefix: &str, suffix: &str| {
                part.strip_prefix(prefix)?.strip_suffix(suffix)?.parse::<u32>().ok()
            };
            match part {
                "silk" => settings.mode = EncoderMode::Silk,
                "celt" => settings.mode = EncoderMode::Celt,
                "red" => redundancy = true,
                _ => {
                    if let Some(rate) = number("", "k").filter(|rate| (6..=128).contains(rate)) {
                        settings.bit_rate = rate * 1_000;
                    } else if let Some(complexity) = number("cx", "").filter(|cx| *cx <= 10) {
                        settings.complexity = complexity as u8;
                    } else if let Some(loss) = number("fec", "").filter(|loss| *loss <= 100) {
                        settings.fec = true;
                        settings.expected_loss_percent = loss as u8;
                    } else {
                        return Err(format!("`{part}`: {FORM}"));
                    }
                }
            }
        }
        Ok(Self { name: text.to_owned(), settings, redundancy })
    }
}

pub fn print_ladder() -> Result<Value, String> {
    Ok(Value::Null)
}
