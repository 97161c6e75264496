//! Randomness. Engines are handed a [`Random`]; only start-up code makes one from the system, so a
//! test that seeds it repeats exactly.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A cryptographically strong generator that can be seeded.
pub type Random = StdRng;

/// A generator seeded by the operating system.
pub fn from_system() -> Random {
    rand::make_rng()
}

/// A generator that repeats, for tests and simulation.
pub fn from_seed(seed: u64) -> Random {
    Random::seed_from_u64(seed)
}

/// `length` characters of `[A-Za-z0-9]`: 5.95 bits each, legal in SIP tokens, tags, branches and in
/// ICE credentials (RFC 8839 §5.4).
pub fn token(random: &mut Random, length: usize) -> String {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    (0..length).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_token() {
        assert_eq!(token(&mut from_seed(7), 24), token(&mut from_seed(7), 24));
        assert_ne!(token(&mut from_seed(7), 24), token(&mut from_seed(8), 24));
    }
}
