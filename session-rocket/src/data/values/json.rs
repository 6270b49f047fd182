//! The names of the fields of a session, and their values as JSON.

use serde_json::{Map, Value as Json};

use super::{Slot, Values};
use crate::base::error::Result;
use crate::data::field::{AnyField, Value};
use crate::data::schema::is_reserved;

impl Values {
    /// Returns the stored names of all values, including values that do not decode, but without reserved names.
    pub(crate) fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        for (index, field) in self.schema.fields().iter().enumerate() {
            match &self.slots[index] {
                Slot::Absent => {}
                Slot::Set(_) | Slot::Stored { .. } if field.spec().extra => keys.extend(self.extra_keys(*field)),
                Slot::Stored { under, .. } => keys.push((*under).to_owned()),
                Slot::Set(_) => keys.push(field.spec().stored.to_owned()),
            }
        }
        keys.extend(
            self.other_data().undeclared.iter().map(|(name, _)| name).filter(|name| !is_reserved(name)).cloned(),
        );
        keys
    }

    fn extra_keys(&self, field: &dyn AnyField) -> Vec<String> {
        let raw = match &self.slots[field.spec().index] {
            Slot::Stored { raw, .. } => Some(raw.clone()),
            Slot::Set(value) => field.encode(value).ok(),
            Slot::Absent => None,
        };
        raw.and_then(|raw| raw.entries()).unwrap_or_default().into_iter().map(|(name, _)| name).collect()
    }

    /// Returns all values as JSON, by their stored names. Leaves out the library's own data, and values that cannot be
    /// decoded or encoded.
    pub(crate) fn items(self) -> Map<String, Json> {
        let mut items = Map::new();
        for field in self.schema.fields() {
            let Some(value) = self.read(*field) else { continue };
            let Ok(raw) = field.encode(&value) else { continue };
            let Some(json) = raw.decode::<Json>() else { continue };
            match json {
                Json::Object(extra) if field.spec().extra => items.extend(extra),
                json => _ = items.insert(field.spec().stored.to_owned(), json),
            }
        }
        for (name, raw) in
            self.other_data().undeclared.iter().filter(|(name, _)| !is_reserved(name) && !self.schema.declares(name))
        {
            if let Some(json) = raw.decode() {
                items.insert(name.clone(), json);
            }
        }
        items
    }

    /// Returns the stored value of `field`, or its default.
    fn value_or_default(&self, field: &dyn AnyField) -> Option<Value> {
        self.read(field).or_else(|| field.default())
    }

    /// Whether `field` reads as `value`. Returns false if either value cannot be encoded.
    pub(crate) fn has_value(&self, field: &dyn AnyField, value: &Value) -> bool {
        let encode = |value: Option<&Value>| field.encode(value?).ok();
        let (Some(new), Some(old)) = (encode(Some(value)), encode(self.value_or_default(field).as_ref())) else {
            return false;
        };
        old.is_equivalent_to(&new)
    }

    /// Returns the stored value of `field` or its default as JSON, or `null` for an `Option` without a stored value.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`] if the value cannot be encoded.
    pub(crate) fn json_or_default(&self, field: &dyn AnyField) -> Result<Json> {
        let Some(value) = self.value_or_default(field) else { return Ok(Json::Null) };
        let raw = field.encode(&value).map_err(|reason| self.schema.unencodable(field, reason))?;
        Ok(raw.decode().unwrap_or(Json::Null))
    }
}
