//! The fields of a session as others see them: their names, and their values as JSON.

use serde_json::{Map, Value as Json};

use super::{Slot, Values, is_reserved};
use crate::base::error::Result;
use crate::data::codec::{Format, Raw};
use crate::data::field::AnyField;

impl Values {
    /// The stored names of all that is stored, whether it decodes or not.
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
        keys.extend(self.rest.iter().map(|(name, _)| name).filter(|name| !is_reserved(name)).cloned());
        keys
    }

    fn extra_keys(&self, field: &dyn AnyField) -> Vec<String> {
        let raw = match &self.slots[field.spec().index] {
            Slot::Stored { raw, .. } => Some(raw.clone()),
            Slot::Set(value) => field.encode(value, Format::Json).0.ok(),
            Slot::Absent => None,
        };
        raw.and_then(|raw| raw.fields()).unwrap_or_default().iter().map(|(name, _)| name.clone()).collect()
    }

    /// All that is stored, as JSON. What does not encode is left out: saving it is what tells.
    pub(crate) fn items(self) -> Map<String, Json> {
        let mut items = Map::new();
        for field in self.schema.fields() {
            let Some(value) = self.read(*field) else { continue };
            let Ok(raw) = field.encode(&value, Format::Json).0 else { continue };
            let Some(json) = raw.decode::<Json>() else { continue };
            match json {
                Json::Object(extra) if field.spec().extra => items.extend(extra),
                json => _ = items.insert(field.spec().stored.to_owned(), json),
            }
        }
        for (name, raw) in self.rest.iter().filter(|(name, _)| !is_reserved(name) && !self.schema.declares(name)) {
            if let Some(json) = raw.decode() {
                items.insert(name.clone(), json);
            }
        }
        items
    }

    /// What `field` reads as, encoded: the default where nothing is stored.
    pub(crate) fn presented(&self, field: &dyn AnyField) -> Option<Raw> {
        match self.read(field) {
            Some(value) => field.encode(&value, Format::Json).0.ok(),
            None => field.encode_default(Format::Json)?.0.ok(),
        }
    }

    /// What `field` reads as, as JSON; `null` for an absent `Option`.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`] when the value does not encode.
    pub(crate) fn presented_json(&self, field: &dyn AnyField) -> Result<Json> {
        let encoded = match self.read(field) {
            Some(value) => Some(field.encode(&value, Format::Json)),
            None => field.encode_default(Format::Json),
        };
        let Some(encoded) = encoded else { return Ok(Json::Null) };
        let raw = encoded.0.map_err(|reason| self.schema.unencodable(field, reason))?;
        Ok(raw.decode().unwrap_or(Json::Null))
    }
}
