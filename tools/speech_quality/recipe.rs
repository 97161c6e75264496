//! How speech is encoded toward a browser: a rung of the ladder, one made up to try it, or two in
//! turns.

use std::str::FromStr;

use linecard::audio::ladder::Rung;
use linecard::audio::opus::{EncoderMode, EncoderSettings};
use linecard::base::narrow::Narrow;
use serde_json::{Value, json};

/// What is tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// As it was written.
    pub name: String,
    /// The encoder.
    pub settings: EncoderSettings,
    /// Whether each packet carries the one before as well (RFC 2198).
    pub redundancy: bool,
    /// Whether silence goes through the product's gate.
    pub gate: bool,
    /// What the same encoder is told every other second.
    pub alternative: Option<EncoderSettings>,
}

const FORM: &str = "write a recipe as the name of a rung, or as silk,36k,cx0,fec10 (mode, bit rate 6k \
                    to 128k, complexity cx0 to cx10, and fec with the loss in percent to expect), or as \
                    celt,40k,cx0,red; add gate to send silence as the product does; two with / between \
                    them take turns";

impl FromStr for Recipe {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (recipe, gate) = match text.strip_suffix(",gate") {
            Some(recipe) => (recipe, true),
            None => (text, false),
        };
        let (first, second) = match recipe.split_once('/') {
            Some((first, second)) => (first, Some(second)),
            None => (recipe, None),
        };
        let (settings, redundancy) = read(first)?;
        let alternative = second.map(read).transpose()?.map(|(settings, _)| settings);
        Ok(Self { name: text.to_owned(), settings, redundancy, gate, alternative })
    }
}

fn read(text: &str) -> Result<(EncoderSettings, bool), String> {
    if let Some(rung) = Rung::ALL.into_iter().find(|rung| rung.name() == text) {
        return Ok((rung.settings(), rung.redundancy()));
    }
    let mut settings = EncoderSettings {
        mode: EncoderMode::Silk,
        bit_rate: 24_000,
        complexity: 0,
        fec: false,
        expected_loss_percent: 0,
    };
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
                    settings.complexity = complexity.narrow();
                } else if let Some(loss) = number("fec", "").filter(|loss| *loss <= 100) {
                    settings.fec = true;
                    settings.expected_loss_percent = loss.narrow();
                } else {
                    return Err(format!("`{part}` is not understood; {FORM}"));
                }
            }
        }
    }
    Ok((settings, redundancy))
}

/// The rungs.
pub fn ladder() -> Value {
    json!({"rungs": Rung::ALL.map(Rung::name)})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_says_what_a_rung_is() {
        for (text, rung) in [
            ("silk,48k,cx0,fec5", Rung::SilkFec),
            ("silk,24k,cx0,red", Rung::SilkRed),
            ("celt,48k,cx0,red", Rung::CeltRed),
            ("celt,48k,cx0", Rung::Celt),
        ] {
            let (written, named) = (read(text).unwrap(), read(rung.name()).unwrap());
            assert_eq!(written, named, "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named_with_what_to_write() {
        for (text, part) in [("silk,4k", "4k"), ("celt,cx11", "cx11"), ("opus", "opus"), ("", "")] {
            let problem = text.parse::<Recipe>().unwrap_err();
            assert!(problem.starts_with(&format!("`{part}`")), "{problem}");
            assert!(problem.contains("silk,36k,cx0,fec10"), "{problem}");
        }
    }

    #[test]
    fn two_recipes_take_turns_in_one_encoder() {
        let recipe: Recipe = "celt_48k/silk_48k_fec".parse().unwrap();
        assert_eq!(recipe.settings, Rung::Celt.settings());
        assert_eq!(recipe.alternative, Some(Rung::SilkFec.settings()));
    }
}
