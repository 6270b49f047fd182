//! Forms with CSRF protection.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use rocket::data::{Data, FromData};
use rocket::form::{self, DataField, Form, FromForm, Options, ValueField};
use rocket::http::Status;
use rocket::outcome::Outcome;
use rocket::{Ignite, Request, Rocket, Sentinel, data};

use super::attached::{Cached, missing_fairing, status};
use crate::base::error::Error;
use crate::session::SessionData;

/// The form field that carries the token.
const FIELD: &str = "csrf_token";

/// A data guard for a form `F` that refuses forms from other sites.
///
/// The form must have a hidden field `csrf_token` with a [`csrf_token`](crate::Session::csrf_token) of the visitor's
/// session of type `S`. `F` does not declare this field. Use `CsrfForm<S>` for a form that has no other fields, such as
/// a button.
///
/// `CsrfForm` replaces Rocket's [`Form`], for urlencoded and multipart forms. It checks the token first, and refuses
/// the form with 403 if the token is missing, belongs to another session, or is older than the last login. Invalid
/// values in other fields have the same result as with [`Form`].
///
/// Verifying the token does not change the session and sends no cookie. The token also protects a site if `same_site`
/// is `"None"` or a browser does not support `SameSite` (OWASP, _Cross-Site Request Forgery Prevention_: synchronizer
/// token).
///
/// ```
/// use rocket::{FromForm, get, post, response::content::RawHtml};
/// use session_rocket::{CsrfForm, Session};
///
/// #[derive(Session)]
/// struct Visitor {
///     nickname: Option<String>,
/// }
///
/// #[derive(FromForm)]
/// struct Naming {
///     nickname: String,
/// }
///
/// #[get("/")]
/// fn page(session: Session<Visitor>) -> RawHtml<String> {
///     let token = session.csrf_token();
///     RawHtml(format!(
///         "<form method=post><input name=nickname><input type=hidden name=csrf_token value={token}></form>"
///     ))
/// }
///
/// #[post("/", data = "<form>")]
/// fn name(session: Session<Visitor>, form: CsrfForm<Visitor, Naming>) -> &'static str {
///     session.set_nickname(&form.nickname);
///     "thank you"
/// }
/// ```
pub struct CsrfForm<S, F = NoFields> {
    form: F,
    session: PhantomData<fn() -> S>,
}

impl<S, F> CsrfForm<S, F> {
    /// Returns the form.
    pub fn into_inner(self) -> F {
        self.form
    }
}

impl<S, F> Deref for CsrfForm<S, F> {
    type Target = F;

    fn deref(&self) -> &F {
        &self.form
    }
}

impl<S, F> DerefMut for CsrfForm<S, F> {
    fn deref_mut(&mut self) -> &mut F {
        &mut self.form
    }
}

impl<S, F: fmt::Debug> fmt::Debug for CsrfForm<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CsrfForm").field(&self.form).finish()
    }
}

/// A form that has no fields besides the token, such as a button.
#[derive(Debug, Clone, Copy)]
pub struct NoFields;

#[rocket::async_trait]
impl<'v> FromForm<'v> for NoFields {
    type Context = ();

    fn init(_: Options) {}

    fn push_value((): &mut (), _: ValueField<'v>) {}

    async fn push_data((): &mut (), _: DataField<'v, '_>) {}

    fn finalize((): ()) -> form::Result<'v, Self> {
        Ok(Self)
    }
}

/// The reason why a [`CsrfForm`] was refused.
///
/// A handler that takes `Result<CsrfForm<S, F>, CsrfError<'_>>` can respond to a refused form itself. Otherwise, Rocket
/// calls the catcher of the status.
///
/// `Display` and `Debug` show the names of invalid fields, but no posted value, because Rocket logs them.
///
/// ```
/// # use rocket::{FromForm, http::Status, post};
/// # use session_rocket::{CsrfError, CsrfForm, Session};
/// # #[derive(Session)]
/// # struct Visitor {}
/// # #[derive(FromForm)]
/// # struct Naming { nickname: String }
/// #[post("/", data = "<form>")]
/// fn name(form: Result<CsrfForm<Visitor, Naming>, CsrfError<'_>>) -> (Status, &'static str) {
///     match form {
///         Ok(_) => (Status::Ok, "thank you"),
///         Err(CsrfError::Token) => (Status::Forbidden, "this page is too old: load it again"),
///         Err(CsrfError::Form(_)) => (Status::UnprocessableEntity, "the nickname is missing"),
///         Err(_) => (Status::ServiceUnavailable, "try again later"),
///     }
/// }
/// ```
#[non_exhaustive]
pub enum CsrfError<'v> {
    /// The token is missing, or it is not a token of this session. The status is 403.
    Token,
    /// The session cannot be loaded. The status is 503, or 500 if the fairing is not attached.
    Session(Error),
    /// A field of the form is missing or invalid. The status is the one that [`Form`] would fail with.
    Form(form::Errors<'v>),
}

impl fmt::Display for CsrfError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token => f.write_str("the CSRF token is missing, or it is not a token of this session"),
            Self::Session(_) => f.write_str("cannot load the session of a form"),
            Self::Form(errors) => {
                let fields = errors.iter().filter_map(|error| error.name.as_ref()).map(ToString::to_string);
                write!(f, "invalid form fields: {:?}", fields.collect::<Vec<_>>())
            }
        }
    }
}

impl fmt::Debug for CsrfError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(error) => f.debug_tuple("Session").field(error).finish(),
            other => write!(f, "CsrfError({other})"),
        }
    }
}

impl std::error::Error for CsrfError<'_> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Session(error) => Some(error),
            Self::Token | Self::Form(_) => None,
        }
    }
}

/// A session type as the first parameter of [`CsrfForm`], with its own compiler message.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a session type",
    note = "if `{Self}` is the form, write `CsrfForm<YourSession, {Self}>`: the session type comes first",
    note = "declare a session type with `#[derive(session_rocket::Session)]`"
)]
pub trait FormSession: SessionData {}

// Without this attribute, rustc reports the missing `SessionData` instead, without these notes.
#[diagnostic::do_not_recommend]
impl<T: SessionData> FormSession for T {}

#[rocket::async_trait]
impl<'r, S: FormSession, F: FromForm<'r>> FromData<'r> for CsrfForm<S, F> {
    type Error = CsrfError<'r>;

    async fn from_data(request: &'r Request<'_>, data: Data<'r>) -> data::Outcome<'r, Self> {
        let posted = match Form::<Posted<'r, F>>::from_data(request, data).await {
            Outcome::Success(posted) => posted.into_inner(),
            Outcome::Error((status, errors)) => return Outcome::Error((status, CsrfError::Form(errors))),
            Outcome::Forward(forward) => return Outcome::Forward(forward),
        };
        let session = match Cached::<S>::of(request).session(request).await {
            Ok(session) => session,
            Err(error) => return Outcome::Error((status(error), CsrfError::Session(error.clone()))),
        };
        if !posted.token.is_some_and(|token| session.verify_csrf_token(token)) {
            return Outcome::Error((Status::Forbidden, CsrfError::Token));
        }
        match posted.form {
            Ok(form) => Outcome::Success(Self { form, session: PhantomData }),
            Err(errors) => Outcome::Error((errors.status(), CsrfError::Form(errors))),
        }
    }
}

/// Aborts the launch if a mounted route uses a session type whose fairing is not attached.
impl<S: SessionData, F> Sentinel for CsrfForm<S, F> {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        missing_fairing::<S>(rocket)
    }
}

/// A parsed form: the token, and the result of parsing the other fields.
struct Posted<'v, F> {
    token: Option<&'v str>,
    form: form::Result<'v, F>,
}

/// The state while a form is parsed.
struct Reading<'v, F: FromForm<'v>> {
    token: Option<&'v str>,
    form: F::Context,
}

#[rocket::async_trait]
impl<'v, F: FromForm<'v>> FromForm<'v> for Posted<'v, F> {
    type Context = Reading<'v, F>;

    fn init(options: Options) -> Self::Context {
        Reading { token: None, form: F::init(options) }
    }

    fn push_value(reading: &mut Self::Context, field: ValueField<'v>) {
        if field.name.source() == FIELD {
            // Only the first token counts, because a page of the site sends exactly one.
            reading.token.get_or_insert(field.value);
        } else {
            F::push_value(&mut reading.form, field);
        }
    }

    async fn push_data(reading: &mut Self::Context, field: DataField<'v, '_>) {
        // A file is never a token, and `F` does not have a field of this name.
        if field.name.source() == FIELD {
            return;
        }
        F::push_data(&mut reading.form, field).await;
    }

    fn push_error(reading: &mut Self::Context, error: form::Error<'v>) {
        F::push_error(&mut reading.form, error);
    }

    fn finalize(reading: Self::Context) -> form::Result<'v, Self> {
        Ok(Self { token: reading.token, form: F::finalize(reading.form) })
    }
}
