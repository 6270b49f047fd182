//! A hand-written session type, as the derive would generate it, and helpers to open sessions of it.

use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::{Clock, ManualClock, Timestamp};
use crate::base::error::Result;
use crate::base::expiry::{Policy, Refresh};
use crate::base::id::{Key, SessionId};
use crate::commit::Events;
use crate::commit::{Engine, Rules, StoreEngine};
use crate::data::codec::Format;
use crate::data::field::{Defaulted, Field, Optional};
use crate::data::schema::Schema;
use crate::session::{CookieUpdate, Core, Session};
use crate::session::{SessionData, SessionFields, SessionIdentity};
use crate::state::change::{Edit, View};
use crate::state::{CommitScope, SessionStatus, State};
use crate::store::memory::MemoryStore;
use crate::store::record::{Record, Version};
use crate::store::{Lookup, Store, Update};

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Visitor {
    pub name: Option<String>,
    pub count: u32,
    pub greeting: String,
    pub tags: Vec<String>,
    pub user: Option<u32>,
}

pub(crate) struct VisitorFields {
    pub state: State,
}

pub(crate) static NAME: Field<String, Optional> = Field::optional(0, "name");
pub(crate) static COUNT: Field<u32, Defaulted> = Field::defaulted(1, "count", || 0);
pub(crate) static GREETING: Field<String, Defaulted> =
    Field::defaulted(2, "greeting", || "hello".to_owned()).rename("hi");
pub(crate) static TAGS: Field<Vec<String>, Defaulted> = Field::defaulted(3, "tags", Vec::new).alias(&["labels"]);
pub(crate) static USER: Field<u32, Optional> = Field::<u32, Optional>::optional(4, "user").identity();

impl SessionFields for VisitorFields {
    fn new(state: State) -> Self {
        Self { state }
    }

    fn state(&self) -> &State {
        &self.state
    }
}

impl SessionData for Visitor {
    type Fields = VisitorFields;
    const NAME: &'static str = "Visitor";
    const CONFIG: &'static str = "session";
    const SCOPE: &'static str = "session";

    fn schema() -> &'static Schema {
        static SCHEMA: Schema = Schema::new("Visitor", &[&NAME, &COUNT, &GREETING, &TAGS, &USER]);
        &SCHEMA
    }

    fn snapshot(view: &mut View) -> Self {
        Self {
            name: NAME.read(view),
            count: COUNT.read(view),
            greeting: GREETING.read(view),
            tags: TAGS.read(view),
            user: USER.read(view),
        }
    }

    fn replace(self, edit: &mut Edit) {
        NAME.write(edit, self.name);
        COUNT.write(edit, self.count);
        GREETING.write(edit, self.greeting);
        TAGS.write(edit, self.tags);
        USER.write(edit, self.user);
    }
}

impl SessionIdentity for Visitor {
    type Identity = u32;

    fn identity_field() -> &'static Field<u32, Optional> {
        &USER
    }
}

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

pub(crate) fn policy() -> Policy {
    let idle_timeout = DAY * 14;
    Policy {
        idle_timeout,
        anonymous_idle_timeout: idle_timeout,
        browser_close: false,
        max_lifetime: None,
        refresh: Refresh::OnSave,
    }
}

pub(crate) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp::from_millis(1_000_000)))
}

pub(crate) fn engine(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Arc<Engine> {
    engine_with(store, clock, policy(), (Duration::from_secs(5), 256 * 1024))
}

pub(crate) fn engine_with(
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    policy: Policy,
    (timeout, max_size): (Duration, usize),
) -> Arc<Engine> {
    Arc::new(Engine::Store(StoreEngine::new(rules(clock, policy, max_size), store, Events::default(), timeout)))
}

pub(crate) fn rules(clock: Arc<dyn Clock>, policy: Policy, max_size: usize) -> Rules {
    Rules {
        clock,
        schema: Visitor::schema(),
        scope: "session",
        policy,
        format: Format::Json,
        max_size,
        limit: None,
        poll_interval: Duration::from_millis(20),
    }
}

/// Loads the session of a request with these cookies.
pub(crate) async fn load(engine: &Engine, ids: impl IntoIterator<Item = &SessionId>) -> Result<State> {
    let cookies: Vec<String> = ids.into_iter().map(SessionId::expose).collect();
    engine.load(&mut cookies.iter().map(String::as_str)).await
}

/// Opens the session of a request with this cookie.
pub(crate) async fn open(engine: &Arc<Engine>, id: Option<&SessionId>) -> Session<Visitor> {
    open_all(engine, id).await
}

/// Opens the session of a request with these cookies.
pub(crate) async fn open_all(engine: &Arc<Engine>, ids: impl IntoIterator<Item = &SessionId>) -> Session<Visitor> {
    Session::new(Core::new(load(engine, ids).await.unwrap(), engine.clone()))
}

/// Commits the session as a response does. Returns the cookie of the response, or the error of the commit.
pub(crate) async fn respond(session: &Session<Visitor>, scope: CommitScope) -> Result<CookieUpdate> {
    let (update, saved) = session.core().respond(scope, true).await;
    saved.map(|()| update)
}

/// Whether the store has neither a record nor a tombstone for an id.
pub(crate) async fn is_unknown(engine: &Arc<Engine>, id: &SessionId) -> bool {
    matches!(load(engine, Some(id)).await.unwrap().status(), SessionStatus::New { .. })
}

/// Changes a stored record as another release would.
pub(super) async fn change_record(memory: &MemoryStore, key: &Key, change: impl FnOnce(&mut Record)) {
    let Lookup::Found(mut record) = memory.load(key).await.unwrap() else { panic!("the record is missing") };
    let expected = record.version;
    change(&mut record);
    record.version = Version::random().unwrap();
    assert_eq!(memory.update(key, expected, &record).await.unwrap(), Update::Updated);
}
