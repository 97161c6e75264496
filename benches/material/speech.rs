//! The speech that benches send: everything the test trunk can say, spoken by espeak-ng, in the
//! telephone band.

use linecard::audio::g711::{self, Law};

/// Samples of 20 ms at 8 kHz.
pub const FRAME: usize = 160;

macro_rules! recordings {
    ($($name:literal),* $(,)?) => {
        [$(include_bytes!(concat!("../../src/up/trunk/speech/", $name, ".ulaw")).as_slice()),*]
    };
}

const RECORDINGS: [&[u8]; 12] = recordings![
    "greeting", "prompt", "heard", "digit_0", "digit_1", "digit_2", "digit_3", "digit_4",
    "digit_5", "digit_6", "digit_8", "digit_9",
];

/// All of it, one after another: 16 s of G.711 µ-law in whole frames.
pub fn pcmu() -> Vec<[u8; FRAME]> {
    RECORDINGS.concat().as_chunks().0.to_vec()
}

/// The same as samples.
pub fn pcm() -> Vec<[i16; FRAME]> {
    let decode = |codes: &[u8; FRAME]| {
        let mut pcm = [0; FRAME];
        g711::decode(Law::Mu, codes, &mut pcm);
        pcm
    };
    pcmu().iter().map(decode).collect()
}
