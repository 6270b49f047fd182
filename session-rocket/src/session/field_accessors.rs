//! The methods of a field that generated code calls, for a live session or for a snapshot (a copy of all fields).

use crate::data::field::{Defaulted, Field, Optional};
use crate::state::State;
use crate::state::change::{Edit, View};

impl<V: 'static, K: 'static> Field<V, K> {
    /// Stores `value`.
    #[track_caller]
    pub fn set(&'static self, state: &State, value: V) {
        state.set(self, self.wrap(value));
    }

    /// Returns the stored value. If no value is stored, stores and returns `value`.
    #[track_caller]
    pub fn setdefault(&'static self, state: &State, value: V) -> V {
        self.owned(&state.setdefault(self, self.wrap(value)))
    }

    /// Returns whether a value is stored.
    pub fn has(&'static self, state: &State) -> bool {
        state.read(self).is_some()
    }

    /// Removes the stored value and returns it.
    #[track_caller]
    pub fn delete(&'static self, state: &State) -> Option<V> {
        state.delete(self).map(|value| self.owned(&value))
    }
}

impl<V: 'static> Field<V, Optional> {
    /// Returns the stored value.
    pub fn get(&'static self, state: &State) -> Option<V> {
        state.read(self).map(|value| self.owned(&value))
    }

    /// Calls `look` with a reference to the stored value.
    pub fn with<R>(&'static self, state: &State, look: impl FnOnce(Option<&V>) -> R) -> R {
        look(state.read(self).as_ref().map(|value| self.peek(value)))
    }

    /// Changes the stored value with `op`, which runs again on newer data after a conflict.
    #[track_caller]
    pub fn update<R>(&'static self, state: &State, op: impl FnOnce(&mut Option<V>) -> R + Clone + Send + 'static) -> R {
        state.update(self, move |value| {
            let mut stored = value.map(|value| self.owned(value));
            let result = op.clone()(&mut stored);
            (stored.map(|value| self.wrap(value)), result)
        })
    }

    /// Reads the value for a snapshot.
    pub fn read(&'static self, view: &mut View) -> Option<V> {
        view.read(self).map(|value| self.owned(&value))
    }

    /// Writes the value from a snapshot back to `edit`.
    pub fn write(&'static self, edit: &mut Edit, value: Option<V>) {
        edit.put(self, value.map(|value| self.wrap(value)));
    }
}

impl<V: 'static> Field<V, Defaulted> {
    /// Returns the stored value or the default.
    pub fn get(&'static self, state: &State) -> V {
        state.read(self).map_or_else(|| self.default_value(), |value| self.owned(&value))
    }

    /// Calls `look` with a reference to the stored value or the default.
    pub fn with<R>(&'static self, state: &State, look: impl FnOnce(&V) -> R) -> R {
        match state.read(self) {
            Some(value) => look(self.peek(&value)),
            None => look(&self.default_value()),
        }
    }

    /// Changes the stored value, or else the default, with `op`, which runs again on newer data after a conflict.
    #[track_caller]
    pub fn update<R>(&'static self, state: &State, op: impl FnOnce(&mut V) -> R + Clone + Send + 'static) -> R {
        state.update(self, move |value| {
            let mut stored = value.map_or_else(|| self.default_value(), |value| self.owned(value));
            let result = op.clone()(&mut stored);
            (Some(self.wrap(stored)), result)
        })
    }

    /// Reads the value for a snapshot.
    pub fn read(&'static self, view: &mut View) -> V {
        view.read(self).map_or_else(|| self.default_value(), |value| self.owned(&value))
    }

    /// Writes the value from a snapshot back to `edit`.
    pub fn write(&'static self, edit: &mut Edit, value: V) {
        edit.put(self, Some(self.wrap(value)));
    }
}
