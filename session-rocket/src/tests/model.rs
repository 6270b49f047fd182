//! Compares random sequences of calls, commits, logins and logouts by three requests of one browser with a small model.
//!
//! In the model, a session is a struct, and a commit applies the changes of a request to the current session.

use std::sync::Arc;

use proptest::prelude::*;

use super::fixture::{COUNT, NAME, TAGS, USER, Visitor, clock, engine, open};
use crate::base::error::ErrorKind;
use crate::base::id::SessionId;
use crate::commit::Engine;
use crate::session::{CookieUpdate, Session};
use crate::state::change::View;
use crate::state::{CommitScope, SessionStatus};
use crate::store::memory::MemoryStore;

const REQUESTS: usize = 3;

#[derive(Debug, Clone, Copy)]
enum Op {
    SetName(u8),
    DeleteName,
    DefaultName(u8),
    Add(u8),
    SetCount(u8),
    DeleteCount,
    Tag(u8),
    Struct(u8),
    Replace(u8),
    Clear,
    Flush,
    Cycle,
    Login(u8),
    Logout,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A request arrives with the browser's current cookie, or, if `late`, with the first cookie that the browser had.
    Open {
        request: usize,
        late: bool,
    },
    Do {
        request: usize,
        op: Op,
    },
    Save {
        request: usize,
    },
    /// The request ends with a response.
    Respond {
        request: usize,
        ok: bool,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => (0..3u8).prop_map(Op::SetName),
        1 => Just(Op::DeleteName),
        2 => (0..3u8).prop_map(Op::DefaultName),
        4 => (0..3u8).prop_map(Op::Add),
        1 => (0..3u8).prop_map(Op::SetCount),
        1 => Just(Op::DeleteCount),
        2 => (0..3u8).prop_map(Op::Tag),
        2 => (0..3u8).prop_map(Op::Struct),
        1 => (0..3u8).prop_map(Op::Replace),
        1 => Just(Op::Clear),
        1 => Just(Op::Flush),
        1 => Just(Op::Cycle),
        2 => (1..3u8).prop_map(Op::Login),
        1 => Just(Op::Logout),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let request = 0..REQUESTS;
    prop_oneof![
        3 => (request.clone(), prop::bool::weighted(0.2)).prop_map(|(request, late)| Step::Open { request, late }),
        6 => (request.clone(), op()).prop_map(|(request, op)| Step::Do { request, op }),
        1 => request.clone().prop_map(|request| Step::Save { request }),
        3 => (request, prop::bool::weighted(0.85)).prop_map(|(request, ok)| Step::Respond { request, ok }),
    ]
}

/// The stored fields of a session.
#[derive(Debug, Clone, Default, PartialEq)]
struct Data {
    name: Option<String>,
    count: Option<u32>,
    tags: Option<Vec<String>>,
    user: Option<u32>,
}

impl Data {
    fn apply(&mut self, op: Op) {
        match op {
            Op::SetName(n) => self.name = Some(format!("n{n}")),
            Op::DeleteName => self.name = None,
            Op::DefaultName(n) => _ = self.name.get_or_insert_with(|| format!("d{n}")),
            Op::Add(n) => self.count = Some(self.count.unwrap_or(0) + u32::from(n)),
            Op::SetCount(n) => self.count = Some(n.into()),
            Op::DeleteCount => self.count = None,
            Op::Tag(n) => self.tags.get_or_insert_default().push(format!("t{n}")),
            Op::Struct(n) => {
                let add = u32::from(n) + 1;
                self.count = Some(self.count.unwrap_or(0) + add);
                self.name = Some(format!("s{}", self.count.unwrap_or(0)));
            }
            // A user whom another request logged in meanwhile is kept.
            Op::Clear => *self = Self { user: self.user, ..Self::default() },
            Op::Login(n) => self.user = Some(n.into()),
            Op::Logout => self.user = None,
            Op::Replace(_) | Op::Flush | Op::Cycle => unreachable!("not a change of data"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Live,
    Moved(usize),
    Ended,
}

/// Where a request's session is stored.
#[derive(Debug, Clone, Copy, PartialEq)]
enum ModelCarrier {
    New,
    /// `known`: the request knows the session's current id.
    Stored {
        session: usize,
        known: bool,
    },
    Ended,
}

/// The cookie that the response sends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum SentCookie {
    None,
    Set(usize),
    Remove,
}

#[derive(Debug, Clone)]
struct Request {
    /// The session of the request's cookie.
    loaded: Option<usize>,
    status: ModelCarrier,
    base: Data,
    view: Data,
    log: Vec<Op>,
    flush: bool,
    cycle: bool,
    /// Whether a change of the identity ends the session.
    ends: bool,
    /// Whether the identity was written, which gives the session a new id.
    rotates: bool,
    login: bool,
    sent: SentCookie,
}

#[derive(Default)]
struct World {
    sessions: Vec<(Data, Fate)>,
    /// The sessions whose ids the browser has received.
    received: Vec<usize>,
    browser_cookie: Option<usize>,
}

impl World {
    fn open(&self, cookie: Option<usize>) -> Request {
        let (status, base) = match cookie.map(|session| (session, &self.sessions[session])) {
            None => (ModelCarrier::New, Data::default()),
            Some((session, (data, Fate::Live))) => (ModelCarrier::Stored { session, known: true }, data.clone()),
            Some(_) => (ModelCarrier::Ended, Data::default()),
        };
        let view = base.clone();
        let (loaded, log, sent) = (cookie, Vec::new(), SentCookie::None);
        let (flush, cycle, ends, rotates, login) = (false, false, false, false, false);
        Request { loaded, status, base, view, log, flush, cycle, ends, rotates, login, sent }
    }

    fn create(&mut self, data: Data) -> (ModelCarrier, SentCookie) {
        self.sessions.push((data, Fate::Live));
        let session = self.sessions.len() - 1;
        (ModelCarrier::Stored { session, known: true }, SentCookie::Set(session))
    }

    fn live(&self, mut session: usize) -> Option<usize> {
        loop {
            match self.sessions[session].1 {
                Fate::Live => return Some(session),
                Fate::Moved(next) => session = next,
                Fate::Ended => return None,
            }
        }
    }

    /// Commits the changes of the request. Returns false if they were dropped.
    fn commit(&mut self, request: &mut Request) -> bool {
        let mut is_saved = true;
        if request.is_modified() {
            let only_ends = request.flush && request.view == Data::default();
            let (status, sent) = self.commit_changes(request);
            is_saved = status != ModelCarrier::Ended || only_ends;
            request.status = status;
            if sent != SentCookie::None {
                request.sent = sent;
            }
        }
        self.show(request);
        request.log.clear();
        (request.flush, request.cycle, request.ends, request.rotates, request.login) =
            (false, false, false, false, false);
        is_saved
    }

    /// Saves without changes. Returns whether the session still exists.
    fn verify(&mut self, request: &mut Request) -> bool {
        if let ModelCarrier::Stored { session, known } = request.status {
            request.status = match self.live(session) {
                Some(live) if live == session => ModelCarrier::Stored { session, known },
                Some(live) if !self.overtaken(request) => ModelCarrier::Stored { session: live, known: false },
                _ => ModelCarrier::Ended,
            };
        }
        self.show(request);
        request.status != ModelCarrier::Ended
    }

    fn show(&self, request: &mut Request) {
        if let ModelCarrier::Stored { session, .. } = request.status {
            request.base = self.sessions[session].0.clone();
        } else {
            request.base = Data::default();
        }
        request.view = request.base.clone();
    }

    /// Whether another user logged in meanwhile, so that the request's changes are dropped.
    fn overtaken(&self, request: &Request) -> bool {
        let ModelCarrier::Stored { session, .. } = request.status else { return false };
        self.live(session).is_some_and(|live| live != session && self.sessions[live].0.user != request.base.user)
    }

    fn commit_changes(&mut self, request: &Request) -> (ModelCarrier, SentCookie) {
        let overtaken = self.overtaken(request);
        let own = with(&Data::default(), &request.log);
        match request.status {
            ModelCarrier::Ended if request.login => self.create(own),
            ModelCarrier::Ended => (ModelCarrier::Ended, SentCookie::None),
            ModelCarrier::New if own != Data::default() => self.create(own),
            ModelCarrier::New if request.flush => (ModelCarrier::New, SentCookie::Remove),
            ModelCarrier::New => (ModelCarrier::New, SentCookie::None),
            ModelCarrier::Stored { session, known } => match self.live(session) {
                None if request.login => self.create(own),
                None => (ModelCarrier::Ended, SentCookie::None),
                Some(_) if overtaken && request.login => self.create(own),
                Some(_) if overtaken => (ModelCarrier::Ended, SentCookie::None),
                Some(live) if request.flush || request.ends => self.end(request, live, live == session, own),
                Some(live) if live != session && request.login => self.create(own),
                Some(live) if live == session && (request.cycle || request.rotates) => {
                    let cycled = self.create(with(&self.sessions[live].0, &request.log));
                    self.sessions[live].1 = Fate::Moved(self.sessions.len() - 1);
                    cycled
                }
                Some(live) => self.change(request, live, known && live == session),
            },
        }
    }

    fn end(&mut self, request: &Request, live: usize, unmoved: bool, own: Data) -> (ModelCarrier, SentCookie) {
        self.sessions[live].1 = Fate::Ended;
        match own == Data::default() {
            // The user logged out, and the visit continues under a new id.
            _ if !request.flush => self.create(own),
            false => self.create(own),
            true if unmoved => (ModelCarrier::New, SentCookie::Remove),
            true => (ModelCarrier::New, SentCookie::None),
        }
    }

    fn change(&mut self, request: &Request, live: usize, known: bool) -> (ModelCarrier, SentCookie) {
        self.sessions[live].0 = with(&self.sessions[live].0, &request.log);
        // The browser has this id already.
        (ModelCarrier::Stored { session: live, known }, SentCookie::None)
    }
}

fn with(data: &Data, log: &[Op]) -> Data {
    let mut data = data.clone();
    log.iter().for_each(|op| data.apply(*op));
    data
}

impl Request {
    fn is_modified(&self) -> bool {
        !self.log.is_empty() || self.flush || self.ends || self.cycle || self.rotates
    }

    fn empty(&mut self) {
        self.view = Data::default();
        self.log.clear();
    }

    fn change(&mut self, op: Op) {
        self.view.apply(op);
        self.log.push(op);
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Flush => {
                self.empty();
                (self.flush, self.ends, self.rotates, self.login) = (true, false, false, false);
            }
            Op::Cycle => self.cycle = true,
            Op::Logout if self.view.user.is_none() => {}
            Op::DeleteName if self.view.name.is_none() => {}
            Op::DeleteCount if self.view.count.is_none() => {}
            Op::Login(_) | Op::Logout => {
                let user = if let Op::Login(n) = op { Some(n.into()) } else { None };
                if self.view.user.is_some() && self.view.user != user {
                    self.empty();
                    self.ends = true;
                }
                self.rotates = true;
                self.login = user.is_some();
                self.change(op);
            }
            Op::Clear if self.view.user.is_some() => self.run(Op::Logout),
            Op::Replace(n) if self.view.count.unwrap_or(0) != u32::from(n) => self.change(Op::SetCount(n)),
            Op::Replace(_) => {}
            // `setdefault_` returns the stored value and changes nothing.
            Op::DefaultName(_) if self.view.name.is_some() => {}
            op => self.change(op),
        }
    }

    fn drop_changes(&mut self) {
        self.log.clear();
        (self.ends, self.rotates, self.login) = (false, false, false);
        self.view = if self.flush { Data::default() } else { self.base.clone() };
    }

    /// The cookie that the response sends. If another request rotated the id, that request sends it.
    fn sent(&self, world: &World) -> SentCookie {
        match (self.sent, self.status) {
            // After an earlier save, the browser received a newer cookie.
            (SentCookie::Set(_), ModelCarrier::Stored { session, .. })
                if self.loaded == Some(session) && world.sessions[session].1 != Fate::Live =>
            {
                SentCookie::None
            }
            (SentCookie::Set(_), ModelCarrier::Stored { session, known: true }) => SentCookie::Set(session),
            (SentCookie::Remove, ModelCarrier::New) => SentCookie::Remove,
            _ => SentCookie::None,
        }
    }
}

fn run(session: &Session<Visitor>, op: Op) {
    let state = session.state();
    match op {
        Op::SetName(n) => NAME.set(state, format!("n{n}")),
        Op::DeleteName => _ = NAME.delete(state),
        Op::DefaultName(n) => _ = NAME.setdefault(state, format!("d{n}")),
        Op::Add(n) => COUNT.update(state, move |count| *count += u32::from(n)),
        Op::SetCount(n) => COUNT.set(state, n.into()),
        Op::DeleteCount => _ = COUNT.delete(state),
        Op::Tag(n) => TAGS.update(state, move |tags| tags.push(format!("t{n}"))),
        Op::Struct(n) => session.update(move |visitor| {
            visitor.count += u32::from(n) + 1;
            visitor.name = Some(format!("s{}", visitor.count));
        }),
        Op::Replace(n) => {
            let visitor = session.get();
            session.replace(Visitor { count: n.into(), ..visitor });
        }
        Op::Clear => session.clear(),
        Op::Flush => session.flush(),
        Op::Cycle => session.cycle_id(),
        Op::Login(n) => USER.set(state, n.into()),
        Op::Logout => _ = USER.delete(state),
    }
}

fn data(session: &Session<Visitor>) -> Data {
    let state = session.state();
    let view = &mut View::new(state.snapshot().1);
    Data {
        name: NAME.read(view),
        count: COUNT.has(state).then(|| COUNT.read(view)),
        tags: TAGS.has(state).then(|| TAGS.read(view)),
        user: USER.read(view),
    }
}

/// The model, and the real sessions that must agree with it.
struct Run {
    engine: Arc<Engine>,
    world: World,
    ids: Vec<Option<SessionId>>,
    requests: [Option<(Request, Session<Visitor>)>; REQUESTS],
}

impl Run {
    async fn step(&mut self, step: Step) {
        match step {
            Step::Open { request, late } => {
                let cookie = if late { self.world.received.first().copied() } else { self.world.browser_cookie };
                let id = cookie.and_then(|session| self.ids[session].clone());
                let session = open(&self.engine, id.as_ref()).await;
                self.requests[request] = Some((self.world.open(cookie), session));
            }
            Step::Do { request, op } => {
                if let Some((model, session)) = &mut self.requests[request] {
                    model.run(op);
                    run(session, op);
                    assert_eq!(data(session), model.view, "after {op:?}");
                }
            }
            Step::Save { request } => {
                if let Some((model, session)) = &mut self.requests[request] {
                    let is_saved =
                        if model.is_modified() { self.world.commit(model) } else { self.world.verify(model) };
                    assert_eq!(session.save().await.is_ok(), is_saved, "{:?}", model.status);
                    assert_eq!(data(session), model.view, "after a save");
                    record_id(&mut self.ids, model, session);
                    self.check().await;
                }
            }
            Step::Respond { request, ok } => {
                if let Some((mut model, session)) = self.requests[request].take() {
                    self.respond(&mut model, &session, ok).await;
                    self.check().await;
                }
            }
        }
    }

    async fn respond(&mut self, model: &mut Request, session: &Session<Visitor>, ok: bool) {
        if !ok {
            model.drop_changes();
        }
        let is_saved = self.world.commit(model);
        let scope = if ok { CommitScope::Everything } else { CommitScope::LifecycleOnly };
        let (update, saved) = session.core().respond(scope, true).await;
        assert_eq!(saved.map_err(|error| error.kind()), if is_saved { Ok(()) } else { Err(ErrorKind::Ended) });
        record_id(&mut self.ids, model, session);
        match (model.sent(&self.world), update) {
            (SentCookie::None, CookieUpdate::None) => {}
            (SentCookie::Remove, CookieUpdate::Remove) => self.world.browser_cookie = None,
            (SentCookie::Set(session), CookieUpdate::Set { value, .. }) => {
                assert_eq!(self.ids[session].as_ref().map(SessionId::expose), Some(value));
                self.world.browser_cookie = Some(session);
                self.world.received.push(session);
            }
            (sent, _) => panic!("expected the response to send {sent:?}"),
        }
    }

    /// Asserts that the stored sessions are those of the model.
    async fn check(&self) {
        for (id, (expected, fate)) in self.ids.iter().zip(&self.world.sessions) {
            let Some(id) = id else { continue };
            let session = open(&self.engine, Some(id)).await;
            match fate {
                Fate::Live => assert_eq!(&data(&session), expected),
                _ => assert!(matches!(session.core().state.status(), SessionStatus::Ended)),
            }
        }
    }
}

/// Records the id of a session that the request has created.
fn record_id(ids: &mut Vec<Option<SessionId>>, model: &Request, session: &Session<Visitor>) {
    if let ModelCarrier::Stored { session: number, known: true } = model.status {
        let id = session.id().expect("the request knows the id of its session");
        assert!(ids.len() <= number || ids[number].as_ref().is_none_or(|known| *known == id));
        if ids.len() <= number {
            ids.resize(number + 1, None);
        }
        ids[number] = Some(id);
    } else {
        assert_eq!(session.id(), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn three_requests_of_one_browser_agree_with_the_model(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let clock = clock();
            let engine = engine(Arc::new(MemoryStore::new(1000, clock.clone())), clock);
            let mut run = Run { engine, world: World::default(), ids: Vec::new(), requests: [None, None, None] };
            for step in steps {
                run.step(step).await;
            }
        });
    }
}
