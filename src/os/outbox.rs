//! Send slots: fixed buffers in which the packet line writes what leaves, and from which the kernel
//! takes it at the next submission. A slot is free, or queued until that submission is done.

use std::fmt;

use super::route::{Destination, SocketIndex};

/// Bytes of a slot: an Ethernet payload; nothing larger is ever sent.
pub const SLOT_BYTES: usize = 1500;

/// A datagram that waits for the next submission.
#[derive(Debug)]
pub struct Queued {
    /// The socket that sends it.
    pub socket: SocketIndex,
    /// Where to; `None` on a connected socket.
    pub to: Option<Destination>,
    /// How many bytes of the slot are the datagram.
    pub length: usize,
    /// The slot itself.
    pub slot: Slot,
}

/// One buffer, owned by whoever holds this.
pub struct Slot(&'static mut [u8]);

/// Without what somebody says.
impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").finish_non_exhaustive()
    }
}

/// The send slots of one thread.
#[derive(Debug)]
pub struct Outbox {
    free: Vec<Slot>,
    queued: Vec<Queued>,
}

impl Outbox {
    /// Makes `slots` buffers. They live as long as the process, like the thread that owns them:
    /// the kernel may read them at any time.
    pub fn new(slots: usize) -> Self {
        // Not zeros, which would be resident only once they are used: no packet waits for a page.
        let memory = vec![u8::MAX; slots * SLOT_BYTES];
        let memory: &'static mut [u8] = Box::leak(memory.into_boxed_slice());
        let free = memory.chunks_exact_mut(SLOT_BYTES).map(Slot).collect();
        Self { free, queued: Vec::with_capacity(slots) }
    }

    /// Lets `write` fill a slot and queues the result: `write` gets the whole slot and returns how
    /// many bytes it wrote, or its own refusal, which frees the slot again. `None`: no slot is free.
    #[inline]
    pub fn queue<E>(
        &mut self,
        socket: SocketIndex,
        to: Option<Destination>,
        write: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Option<Result<usize, E>> {
        let slot = self.free.pop()?;
        match write(slot.0) {
            Ok(length) => {
                let length = length.min(SLOT_BYTES);
                self.queued.push(Queued { socket, to, length, slot });
                Some(Ok(length))
            }
            Err(refusal) => {
                self.free.push(slot);
                Some(Err(refusal))
            }
        }
    }

    /// What waits to leave, in order. It stays in place until [`Self::clear`], so that the kernel can
    /// be given pointers into it.
    pub fn queued(&self) -> &[Queued] {
        &self.queued
    }

    /// Frees every queued slot: the datagrams left, or never will.
    pub fn clear(&mut self) {
        self.free.extend(self.queued.drain(..).map(|queued| queued.slot));
    }

    /// Slots that are not queued.
    pub fn free_slots(&self) -> usize {
        self.free.len()
    }
}

impl Queued {
    /// The datagram.
    pub fn bytes(&self) -> &[u8] {
        &self.slot.0[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_queued_once_and_comes_back() {
        let mut outbox = Outbox::new(1);
        let socket = SocketIndex::first(0);
        let wrote = outbox.queue::<()>(socket, None, |slot| {
            slot[..3].copy_from_slice(b"abc");
            Ok(3)
        });
        assert_eq!(wrote, Some(Ok(3)));
        assert_eq!(outbox.queue::<()>(socket, None, |_| Ok(0)), None);
        assert_eq!(outbox.queued()[0].bytes(), b"abc");
        outbox.clear();
        assert_eq!(outbox.free_slots(), 1);
    }

    #[test]
    fn a_refused_write_frees_its_slot() {
        let mut outbox = Outbox::new(1);
        let refused = outbox.queue(SocketIndex::first(0), None, |_| Err("no"));
        assert_eq!(refused, Some(Err("no")));
        assert_eq!(outbox.free_slots(), 1);
        assert!(outbox.queued().is_empty());
    }
}
