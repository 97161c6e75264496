//! The calls of a thread, by key.

use crate::base::narrow::Narrow;

use super::call::Call;
use super::channel::CallKey;

/// The calls of a thread: a table whose places are used again with another generation.
pub(super) struct Calls {
    places: Vec<Place>,
    free: Vec<u32>,
}

struct Place {
    generation: u32,
    call: Option<Box<Call>>,
}

impl Calls {
    /// An empty table with places for `calls` calls.
    pub(super) fn new(calls: usize) -> Self {
        Self {
            places: (0..calls).map(|_| Place { generation: 0, call: None }).collect(),
            free: (0..calls.narrow()).rev().collect(),
        }
    }

    /// The key that the next call gets.
    pub(super) fn next_key(&self) -> Option<CallKey> {
        let place = *self.free.last()?;
        Some(CallKey { place, generation: self.places[place as usize].generation })
    }

    /// Puts a call under the key from [`Self::next_key`], or back under its own.
    pub(super) fn insert(&mut self, key: CallKey, call: impl Into<Box<Call>>) {
        if self.free.last() == Some(&key.place) {
            self.free.pop();
        }
        let place = &mut self.places[key.place as usize];
        debug_assert!(place.call.is_none(), "a place has one call");
        debug_assert_eq!(
            place.generation, key.generation,
            "a call lies under the key it was given"
        );
        place.call = Some(call.into());
    }

    /// The call under a key.
    pub(super) fn find(&mut self, key: CallKey) -> Option<&mut Call> {
        let place = &mut self.places[key.place as usize];
        place.call.as_deref_mut().filter(|_| place.generation == key.generation)
    }

    /// Two calls, not one twice.
    pub(super) fn pair(&mut self, one: CallKey, other: CallKey) -> Option<[&mut Call; 2]> {
        let generations = [one.generation, other.generation];
        let places = [one.place as usize, other.place as usize];
        let [one, other] = self.places.get_disjoint_mut(places).ok()?;
        let is_there = [one.generation, other.generation] == generations;
        let (one, other) = (one.call.as_deref_mut()?, other.call.as_deref_mut()?);
        is_there.then_some([one, other])
    }

    /// Takes a call out; its place stays reserved until [`Self::insert`] or [`Self::free`].
    pub(super) fn take(&mut self, key: CallKey) -> Option<Box<Call>> {
        let place = &mut self.places[key.place as usize];
        if place.generation == key.generation { place.call.take() } else { None }
    }

    /// Gives a place back: its next call gets another key.
    pub(super) fn free(&mut self, key: CallKey) {
        let place = &mut self.places[key.place as usize];
        debug_assert!(place.call.is_none(), "a place is free once its call is gone");
        debug_assert_eq!(place.generation, key.generation, "a place is given back once");
        place.generation = place.generation.wrapping_add(1);
        self.free.push(key.place);
        debug_assert!(self.free.len() <= self.places.len(), "a place is free once");
    }

    /// Every call, to be changed.
    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Call> {
        self.places.iter_mut().filter_map(|place| place.call.as_deref_mut())
    }

    /// Every call.
    pub(super) fn all(&self) -> impl Iterator<Item = &Call> {
        self.places.iter().filter_map(|place| place.call.as_deref())
    }
}
