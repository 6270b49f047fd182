//! The methods of a session that are not accessors.

use std::sync::Arc;

use serde_json::json;

use super::fixture::{COUNT, NAME, TAGS, Visitor, clock, engine, open};
use crate::base::id::SessionId;
use crate::data::codec;
use crate::session::Session;
use crate::store::memory::MemoryStore;
use crate::store::record::Version;
use crate::store::{Lookup, Store, Update};

/// Stores a session with a value that cannot be decoded and a key that no field declares.
async fn store_session() -> (Arc<MemoryStore>, SessionId) {
    let memory = Arc::new(MemoryStore::new(100, clock()));
    let session = open(&engine(memory.clone(), clock()), None).await;
    NAME.set(session.state(), "Ada".into());
    session.save().await.unwrap();
    let id = session.id().unwrap();
    let Lookup::Found(mut record) = memory.load(&id.key("session")).await.unwrap() else {
        panic!("the session is not stored")
    };
    let expected = record.version;
    let fields = [
        ("name", codec::Raw::encode("Ada").unwrap()),
        ("count", codec::Raw::encode("many").unwrap()),
        ("theme", codec::Raw::encode("dark").unwrap()),
    ];
    record.payload = codec::join(fields.iter().map(|(name, raw)| (*name, raw)), codec::Format::Json);
    record.version = Version::random().unwrap();
    assert_eq!(memory.update(&id.key("session"), expected, &record).await.unwrap(), Update::Updated);
    (memory, id)
}

async fn open_stored() -> Session<Visitor> {
    let (memory, id) = store_session().await;
    open(&engine(memory, clock()), Some(&id)).await
}

#[tokio::test]
async fn keys_and_items_return_what_is_stored() {
    let session = open_stored().await;
    assert_eq!(session.keys(), ["name", "count", "theme"]);
    assert_eq!(json!(session.items()), json!({ "name": "Ada", "theme": "dark" }));
    TAGS.set(session.state(), vec!["a".into()]);
    assert_eq!(session.keys(), ["name", "count", "tags", "theme"]);
    session.clear();
    assert!(session.keys().is_empty() && session.items().is_empty() && session.is_empty());
}

#[tokio::test]
async fn a_session_serializes_its_declared_fields_with_their_defaults() {
    let session = open_stored().await;
    let shown = serde_json::to_value(&session).unwrap();
    assert_eq!(shown, json!({ "name": "Ada", "count": 0, "greeting": "hello", "tags": [], "user": null }));
}

#[tokio::test]
async fn get_update_and_replace_read_and_change_all_fields() {
    let session = open_stored().await;
    assert!(!session.is_new() && !session.is_modified());
    let length = session.update(|visitor| {
        visitor.count += 2;
        visitor.tags.push("seen".into());
        visitor.tags.len()
    });
    assert_eq!((length, session.is_modified()), (1, true));
    let visitor = session.get();
    assert_eq!((visitor.count, visitor.name.as_deref()), (2, Some("Ada")));
    session.replace(Visitor { name: None, ..visitor });
    session.save().await.unwrap();
    assert!(!session.is_modified());
    assert_eq!((NAME.get(session.state()), COUNT.get(session.state())), (None, 2));
    assert_eq!(session.items().get("theme"), Some(&json!("dark")));
}

#[tokio::test]
async fn debug_shows_no_id_and_no_value() {
    let session = open_stored().await;
    let shown = format!("{session:?}");
    assert!(shown.contains("Visitor") && shown.contains(&session.handle().unwrap().to_string()));
    assert!(!shown.contains("Ada") && !shown.contains(&session.id().unwrap().expose()));
}
