//! Guards for forms and script requests that carry a CSRF token.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use rocket::data::{Data, FromData};
use rocket::form::{self, DataField, Form, FromForm, Options, ValueField};
use rocket::http::Status;
use rocket::outcome::Outcome;
use rocket::request::FromRequest;
use rocket::{Ignite, Request, Rocket, Sentinel, data};

use super::attached::{Attached, RequestCache, missing_fairing, status};
use crate::base::error::Error;
use crate::session::SessionData;
use crate::state::CsrfCheck;

/// The form field that carries the token.
const FIELD: &str = "csrf_token";

/// The request headers that carry the token. Front ends for Django send the second header.
const HEADERS: [&str; 2] = ["X-CSRF-Token", "X-CSRFToken"];

/// A data guard that parses a form `F`, and refuses forms that other sites forge.
///
/// The form must have a hidden field `csrf_token` with a [`csrf_token`](crate::Session::csrf_token) of the visitor's
/// session of type `S`. `F` does not declare this field. For a form without other fields, such as a button, use
/// `CsrfForm<S>`. A script that posts the form can instead send the token in a header, as [`CsrfHeader`] describes.
///
/// `CsrfForm` replaces Rocket's [`Form`], for urlencoded and multipart forms. `F` can be any type that `Form` accepts,
/// including [`Contextual`](form::Contextual) and [`Strict`](form::Strict). `CsrfForm` refuses the form with 403 if the
/// token is missing, belongs to another session, or was made before the last login, logout or
/// [`cycle_id`](crate::Session::cycle_id). An invalid value in another field has the same result as with `Form`.
///
/// Verifying the token does not change the session and sends no cookie. A request with a bearer token needs no CSRF
/// token, because a browser does not add the bearer token by itself. CSRF tokens also protect a site if `same_site` is
/// `"None"` or a browser does not support `SameSite`. (OWASP, _Cross-Site Request Forgery Prevention_, calls them
/// synchronizer tokens.)
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

/// A request guard that refuses requests without a valid CSRF token in a header.
///
/// Use `CsrfHeader` for routes that scripts call with `fetch`, for example with JSON. The page gives the script a
/// [`csrf_token`](crate::Session::csrf_token) of the visitor's session of type `S`. The script sends the token in the
/// header `X-CSRF-Token`, or in `X-CSRFToken`, as front ends for Django do. [`CsrfForm`] describes which tokens are
/// invalid. Without a valid token, the guard fails with 403. A request with a bearer token needs no CSRF token.
///
/// ```
/// use rocket::serde::json::Json;
/// use session_rocket::{CsrfHeader, Session};
///
/// #[derive(Session)]
/// struct Visitor {
///     nickname: Option<String>,
/// }
///
/// // `fetch("/nickname", { method: "PUT", headers: { "X-CSRF-Token": token }, body: JSON.stringify("Ada") })`
/// #[rocket::put("/nickname", data = "<nickname>")]
/// fn name(_csrf: CsrfHeader<Visitor>, session: Session<Visitor>, nickname: Json<String>) {
///     session.set_nickname(nickname.into_inner());
/// }
/// ```
pub struct CsrfHeader<S>(PhantomData<fn() -> S>);

impl<S> fmt::Debug for CsrfHeader<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CsrfHeader")
    }
}

/// The reason why a [`CsrfForm`] or a [`CsrfHeader`] was refused.
///
/// A handler that takes `Result<CsrfForm<S, F>, CsrfError<'_>>` can respond to a refused form itself. Otherwise, Rocket
/// calls the catcher for the status.
///
/// `Display` and `Debug` show the names of invalid fields, but no posted values, because Rocket logs the error.
///
/// ```
/// # use rocket::{FromForm, http::Status, post};
/// # use session_rocket::{CsrfError, CsrfForm, Error, Session};
/// # #[derive(Session)]
/// # struct Visitor {}
/// # #[derive(FromForm)]
/// # struct Naming { nickname: String }
/// #[post("/", data = "<form>")]
/// fn name(form: Result<CsrfForm<Visitor, Naming>, CsrfError<'_>>) -> Result<(Status, &'static str), Error> {
///     match form {
///         Ok(_) => Ok((Status::Ok, "thank you")),
///         Err(CsrfError::Form(_)) => Ok((Status::UnprocessableEntity, "the nickname is missing")),
///         Err(CsrfError::Session(error)) => Err(error),
///         Err(_) => Ok((Status::Forbidden, "this page is too old: load it again")),
///     }
/// }
/// ```
#[non_exhaustive]
pub enum CsrfError<'v> {
    /// The request has no token. The status is 403.
    Missing,
    /// The session has ended since the page was loaded, or the browser sends no cookies. The status is 403.
    NoSession,
    /// The token belongs to another session, or the page was loaded before a login. The status is 403.
    WrongToken,
    /// The session cannot be loaded. The status is 400, 500 or 503, as [`ErrorKind`](crate::ErrorKind) lists them.
    Session(Error),
    /// A field of the form is missing or invalid. The status is that of Rocket's [`Form`].
    Form(form::Errors<'v>),
}

impl fmt::Display for CsrfError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str(
                "the CSRF token is missing: add a hidden field `csrf_token` with `session.csrf_token()` to the form, or \
                 send the token in the header `X-CSRF-Token`",
            ),
            Self::NoSession => f.write_str(
                "the CSRF token is invalid, because the session has ended since the page was loaded, or the browser \
                 sends no cookies",
            ),
            Self::WrongToken => f.write_str(
                "the CSRF token is invalid: it belongs to another session, or the page was loaded before a login",
            ),
            Self::Session(_) => f.write_str("cannot load the session to verify the CSRF token"),
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
            Self::Missing | Self::NoSession | Self::WrongToken | Self::Form(_) => None,
        }
    }
}

/// A session type that is the first parameter of [`CsrfForm`]. The trait has a message for swapped parameters.
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
        let posted = match Form::<FormWithToken<'r, F>>::from_data(request, data).await {
            Outcome::Success(posted) => posted.into_inner(),
            Outcome::Error((status, errors)) => return Outcome::Error((status, CsrfError::Form(errors))),
            Outcome::Forward(forward) => return Outcome::Forward(forward),
        };
        if let Err(refused) = verify::<S>(request, posted.token).await {
            return Outcome::Error(refused);
        }
        match posted.form {
            Ok(form) => Outcome::Success(Self { form, session: PhantomData }),
            Err(errors) => Outcome::Error((errors.status(), CsrfError::Form(errors))),
        }
    }
}

#[rocket::async_trait]
impl<'r, S: SessionData> FromRequest<'r> for CsrfHeader<S> {
    type Error = CsrfError<'r>;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, (Status, CsrfError<'r>), Status> {
        match verify::<S>(request, None).await {
            Ok(()) => Outcome::Success(Self(PhantomData)),
            Err(refused) => Outcome::Error(refused),
        }
    }
}

/// Verifies `posted`, the token of a form, or if it is `None`, the token in a header. Accepts every request with a
/// bearer token.
async fn verify<'r, S: SessionData>(
    request: &Request<'_>,
    posted: Option<&str>,
) -> Result<(), (Status, CsrfError<'r>)> {
    let session = match RequestCache::<S>::of(request).session(request).await {
        Ok(session) => session,
        Err(error) => return Err((status(error), CsrfError::Session(error.clone()))),
    };
    if request.rocket().state::<Attached<S>>().is_some_and(|attached| attached.is_bearer(request)) {
        return Ok(());
    }
    let header = || HEADERS.iter().find_map(|name| request.headers().get_one(name));
    let error = match posted.or_else(header).map(|token| session.core().state.check_csrf(token)) {
        Some(CsrfCheck::Valid) => return Ok(()),
        Some(CsrfCheck::Wrong) => CsrfError::WrongToken,
        Some(CsrfCheck::NoSession) => CsrfError::NoSession,
        None => CsrfError::Missing,
    };
    Err((Status::Forbidden, error))
}

impl<S: SessionData, F> Sentinel for CsrfForm<S, F> {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        missing_fairing::<S>(rocket)
    }
}

impl<S: SessionData> Sentinel for CsrfHeader<S> {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        missing_fairing::<S>(rocket)
    }
}

/// A parsed form: the token, and the result of parsing the other fields.
struct FormWithToken<'v, F> {
    token: Option<&'v str>,
    form: form::Result<'v, F>,
}

/// The state while a form is parsed.
struct FormContext<'v, F: FromForm<'v>> {
    token: Option<&'v str>,
    form: F::Context,
}

#[rocket::async_trait]
impl<'v, F: FromForm<'v>> FromForm<'v> for FormWithToken<'v, F> {
    type Context = FormContext<'v, F>;

    fn init(options: Options) -> Self::Context {
        FormContext { token: None, form: F::init(options) }
    }

    fn push_value(context: &mut Self::Context, field: ValueField<'v>) {
        if field.name.source() == FIELD {
            // Only the first token counts, because the site's pages send exactly one.
            context.token.get_or_insert(field.value);
        } else {
            F::push_value(&mut context.form, field);
        }
    }

    async fn push_data(context: &mut Self::Context, field: DataField<'v, '_>) {
        // A file is never a token, and `F` does not have a field of this name.
        if field.name.source() == FIELD {
            return;
        }
        F::push_data(&mut context.form, field).await;
    }

    fn push_error(context: &mut Self::Context, error: form::Error<'v>) {
        F::push_error(&mut context.form, error);
    }

    fn finalize(context: Self::Context) -> form::Result<'v, Self> {
        Ok(Self { token: context.token, form: F::finalize(context.form) })
    }
}
