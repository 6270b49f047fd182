//! Helpers for tests of a site.

use std::future::Future;

use rocket::http::{Cookie, CookieJar, Method};
use rocket::local::{asynchronous, blocking};
use rocket::{Build, Request, Rocket};
use tokio::sync::oneshot::{self, error::TryRecvError};

use super::attached::{Attached, Isolated, RequestCache};
use super::transport::Transport;
use super::user::LoadUser;
use crate::base::error::Result;
use crate::session::{Session, SessionData};

/// Keeps all sessions of a Rocket in the memory of the process, instead of the configured store.
///
/// An empty memory store replaces the store, even if code passes a store or a pool, and no cache is used. So tests share
/// no sessions with the site or with each other. Sealed cookies stay in use. All other settings apply.
///
/// ```
/// use rocket::local::blocking::Client;
/// use session_rocket::testing::{self, ClientExt};
/// use session_rocket::{LoggedIn, Session};
///
/// #[derive(Session)]
/// struct Account {
///     #[session(identity)]
///     user_id: Option<i64>,
///     num_visits: u32,
/// }
///
/// #[rocket::get("/")]
/// fn home(user: LoggedIn<Account>) -> String {
///     user.update_num_visits(|visits| *visits += 1);
///     format!("user {}", user.identity())
/// }
///
/// fn rocket() -> rocket::Rocket<rocket::Build> {
///     rocket::build().attach(Session::<Account>::fairing()).mount("/", rocket::routes![home])
/// }
///
/// let client = Client::tracked(testing::isolated(rocket())).unwrap();
/// client.set_session::<Account>(|session| session.set_user_id(7));
/// assert_eq!(client.get("/").dispatch().into_string().unwrap(), "user 7");
/// assert_eq!(client.session::<Account>().num_visits, 1);
/// ```
#[must_use]
pub fn isolated(rocket: Rocket<Build>) -> Rocket<Build> {
    if rocket.state::<Isolated>().is_some() { rocket } else { rocket.manage(Isolated) }
}

/// Reads and changes the session of a blocking local client.
///
/// Each method sends the request `TRACE /`, and the session's fairing reads or changes the session during the response.
/// No handler of the site runs, unless the site has a route for `TRACE /`. Other fairings and the catcher for 404 run.
/// With [`CrossOriginProtection`](crate::CrossOriginProtection) and `strict`, the response is 403 and the log has a
/// warning, but the method still reads or changes the session.
///
/// The request has no `Authorization` header, so each method panics if the session type has the setting
/// `transport = "bearer"`. To test such a site, log in through a route, and send the id that the route returns. With
/// `"cookie or bearer"`, [`set_session`](Self::set_session) and [`log_in`](Self::log_in) return a cookie whose value is
/// also a valid bearer token.
pub trait ClientExt {
    /// Changes the client's session with `op`, and saves the session.
    ///
    /// Returns the session cookie if the response set it, for example for a new session or after a login. A client that
    /// tracks cookies stores the cookie. With any other client, add the cookie to each request:
    /// `client.get("/").cookie(cookie)`.
    ///
    /// # Panics
    /// If the session cannot be loaded or saved, its fairing is not attached, or its `transport` is `"bearer"`.
    fn set_session<T: SessionData>(&self, op: impl FnOnce(&Session<T>) + Send + 'static) -> Option<Cookie<'static>>;

    /// Logs a user in, as [`LoadUser::log_in`] does, and returns the session cookie as [`set_session`](Self::set_session)
    /// does.
    ///
    /// # Panics
    /// In the same cases as [`set_session`](Self::set_session).
    fn log_in<U: LoadUser>(&self, user: &U) -> Option<Cookie<'static>>;

    /// Returns the data of the client's session. Without a session, all fields have their defaults.
    ///
    /// The client must track cookies. Otherwise, the request has no session.
    ///
    /// # Panics
    /// If the session cannot be loaded, its fairing is not attached, or its `transport` is `"bearer"`.
    fn session<T: SessionData>(&self) -> T;
}

/// Reads and changes the session of an asynchronous local client, as [`ClientExt`] does for a blocking client.
pub trait AsyncClientExt {
    /// Changes and saves the client's session, as [`ClientExt::set_session`] does.
    fn set_session<T: SessionData>(
        &self,
        op: impl FnOnce(&Session<T>) + Send + 'static,
    ) -> impl Future<Output = Option<Cookie<'static>>> + Send;

    /// Logs a user in, as [`ClientExt::log_in`] does.
    fn log_in<U: LoadUser>(&self, user: &U) -> impl Future<Output = Option<Cookie<'static>>> + Send;

    /// Returns the data of the client's session, as [`ClientExt::session`] does.
    fn session<T: SessionData>(&self) -> impl Future<Output = T> + Send;
}

impl ClientExt for blocking::Client {
    #[track_caller]
    fn set_session<T: SessionData>(&self, op: impl FnOnce(&Session<T>) + Send + 'static) -> Option<Cookie<'static>> {
        let request = self.req(Method::Trace, "/");
        let changed = schedule_change::<T>(request.inner(), op);
        let response = request.dispatch();
        take_result::<T, _>(changed);
        session_cookie::<T>(self.rocket().state(), response.cookies())
    }

    #[track_caller]
    fn log_in<U: LoadUser>(&self, user: &U) -> Option<Cookie<'static>> {
        let (identity, auth_hash) = (user.identity(), user.auth_hash());
        self.set_session::<U::Session>(move |session| session.log_in(identity, auth_hash.as_deref()))
    }

    #[track_caller]
    fn session<T: SessionData>(&self) -> T {
        let request = self.req(Method::Trace, "/");
        let read = schedule_read(request.inner());
        drop(request.dispatch());
        take_result::<T, _>(read)
    }
}

impl AsyncClientExt for asynchronous::Client {
    async fn set_session<T: SessionData>(
        &self,
        op: impl FnOnce(&Session<T>) + Send + 'static,
    ) -> Option<Cookie<'static>> {
        let request = self.req(Method::Trace, "/");
        let changed = schedule_change::<T>(request.inner(), op);
        let response = request.dispatch().await;
        take_result::<T, _>(changed);
        session_cookie::<T>(self.rocket().state(), response.cookies())
    }

    fn log_in<U: LoadUser>(&self, user: &U) -> impl Future<Output = Option<Cookie<'static>>> + Send {
        let (identity, auth_hash) = (user.identity(), user.auth_hash());
        self.set_session::<U::Session>(move |session| session.log_in(identity, auth_hash.as_deref()))
    }

    async fn session<T: SessionData>(&self) -> T {
        let request = self.req(Method::Trace, "/");
        let read = schedule_read(request.inner());
        drop(request.dispatch().await);
        take_result::<T, _>(read)
    }
}

type PendingResult<R> = oneshot::Receiver<Result<R>>;

/// Panics if the session type ignores cookies, because the requests of these helpers have no bearer token.
#[track_caller]
fn assert_cookies<T: SessionData>(attached: Option<&Attached<T>>) {
    assert!(
        attached.is_none_or(|attached| attached.transport != Transport::Bearer),
        "session type `{}` has `transport = \"bearer\"`, but this test method sends no bearer token: log in through a \
         route of the site, and send the id that the route returns",
        T::NAME,
    );
}

/// Lets the fairing change and save the session of `request`.
#[track_caller]
fn schedule_change<T: SessionData>(
    request: &Request<'_>,
    op: impl FnOnce(&Session<T>) + Send + 'static,
) -> PendingResult<()> {
    schedule(request, |session: Session<T>| async move {
        op(&session);
        session.save().await
    })
}

/// Lets the fairing read the session of `request`.
#[track_caller]
fn schedule_read<T: SessionData>(request: &Request<'_>) -> PendingResult<T> {
    schedule(request, |session: Session<T>| async move { Ok(session.get()) })
}

/// Lets the fairing run `work` before the fairing saves the session of `request`.
#[track_caller]
fn schedule<T: SessionData, R: Send + 'static, F: Future<Output = Result<R>> + Send>(
    request: &Request<'_>,
    work: impl FnOnce(Session<T>) -> F + Send + 'static,
) -> PendingResult<R> {
    assert_cookies::<T>(request.rocket().state());
    let (sender, receiver) = oneshot::channel();
    RequestCache::<T>::of(request).set_test_step(|session| {
        Box::pin(async move {
            let result = match session {
                Ok(session) => work(session).await,
                Err(error) => Err(error),
            };
            // The receiver is gone if the test panicked.
            let _ = sender.send(result);
        })
    });
    receiver
}

#[track_caller]
fn take_result<T: SessionData, R>(mut receiver: PendingResult<R>) -> R {
    match receiver.try_recv() {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => panic!("cannot load or save a session of type `{}`: {error:#}", T::NAME),
        Err(TryRecvError::Empty | TryRecvError::Closed) => {
            panic!("the fairing of session type `{}` did not run: is it attached?", T::NAME)
        }
    }
}

fn session_cookie<T: SessionData>(attached: Option<&Attached<T>>, cookies: &CookieJar<'_>) -> Option<Cookie<'static>> {
    cookies.get(&attached?.cookie.name).cloned()
}
