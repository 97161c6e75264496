//! Appending to a borrowed buffer, for the binary protocols that end in tags or counts.

/// Appends to `out`; `None` from any step means that it is full.
pub(super) struct Writer<'a> {
    pub(super) out: &'a mut [u8],
    pub(super) length: usize,
}

impl<'a> Writer<'a> {
    pub(super) fn new(out: &'a mut [u8]) -> Self {
        Self { out, length: 0 }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.length.checked_add(bytes.len())?;
        self.out.get_mut(self.length..end)?.copy_from_slice(bytes);
        self.length = end;
        Some(())
    }

    pub(super) fn word(&mut self, word: u32) -> Option<()> {
        self.put(&word.to_be_bytes())
    }

    /// Zeros up to the next multiple of four.
    pub(super) fn pad(&mut self) -> Option<()> {
        self.put(&[0; 3][..self.length.next_multiple_of(4) - self.length])
    }

    pub(super) fn written(&self) -> &[u8] {
        &self.out[..self.length]
    }
}
