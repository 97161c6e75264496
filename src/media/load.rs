//! How busy a core is, as far as the choice of encoders depends on it.

/// The share of its time that a core is busy, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Load(pub(super) f32);

impl Load {
    /// An idle core.
    pub const NONE: Self = Self(0.0);
    /// From here on new calls get cheap rungs. Below it the core has time that nobody else wants.
    pub const BUSY: Self = Self(0.7);
    /// From here on nobody gets a dearer rung: a path that all calls share may turn lossy for all of
    /// them at once, and SILK with FEC costs twice what CELT does.
    pub const FULL: Self = Self(0.9);

    /// A load; what lies outside 0 to 1 is brought into it.
    pub fn new(share: f32) -> Self {
        Self(if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) })
    }
}
