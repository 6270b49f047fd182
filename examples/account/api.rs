//! The JSON API for apps, which send a bearer token, and for the script of the page `/app`, which sends the cookie.

use rocket::http::Status;
use rocket::response::content::RawJson;
use rocket::{Either, Route, State, delete, get, post, routes};
use serde::Deserialize;
use serde_json::json;
use session_rocket::{CsrfHeader, CurrentUser, LoadUser, Session, SessionHandle, Sessions};

use crate::device::Device;
use crate::pages::{Result, minute};
use crate::user::Account;
use crate::users::{User, Users};

pub fn routes() -> Vec<Route> {
    routes![login, me, devices, log_out_device, logout]
}

#[derive(Deserialize)]
struct Credentials<'a> {
    username: &'a str,
    password: String,
}

/// Logs in. Only a request with a bearer token gets the session id in the header `X-Session-Id`, so no script on a page can
/// read a browser's id.
///
/// `format` refuses forms, which pages of other sites can post.
#[post("/api/login", format = "json", data = "<body>")]
async fn login(
    session: Session<Account>,
    users: &State<Users>,
    device: Device,
    body: &str,
) -> Result<Either<RawJson<String>, Status>> {
    let Ok(Credentials { username, password }) = serde_json::from_str(body) else {
        return Ok(Either::Right(Status::UnprocessableEntity));
    };
    let Some(user) = users.authenticate(username.trim(), password).await? else {
        return Ok(Either::Right(Status::Unauthorized));
    };
    user.log_in(&session);
    session.set_device(device.0);
    Ok(Either::Left(RawJson(json!({ "name": user.name }).to_string())))
}

#[get("/api/me")]
fn me(user: CurrentUser<User>) -> RawJson<String> {
    let session = user.session();
    RawJson(json!({ "id": user.id, "name": user.name, "device": session.device() }).to_string())
}

#[get("/api/devices")]
async fn devices(user: CurrentUser<User>, sessions: Sessions<Account>) -> Result<RawJson<String>> {
    let current = user.session().handle();
    let devices = sessions.list(&user.id).await?.into_iter().map(|listing| {
        let is_current = Some(listing.handle) == current;
        let login = minute(listing.created_at);
        json!({ "handle": listing.handle, "name": listing.data.device, "login": login, "current": is_current })
    });
    Ok(RawJson(json!(devices.collect::<Vec<_>>()).to_string()))
}

/// A script needs the CSRF token of its page, because browsers add the cookie to every request. An app needs no CSRF token.
#[delete("/api/devices/<handle>")]
async fn log_out_device(
    user: CurrentUser<User>,
    _csrf: CsrfHeader<Account>,
    sessions: Sessions<Account>,
    handle: SessionHandle,
) -> Result<Status> {
    let ended = sessions.revoke(&user.id, &handle).await?;
    Ok(if ended == 1 { Status::NoContent } else { Status::NotFound })
}

#[post("/api/logout", format = "json")]
fn logout(session: Session<Account>) -> Status {
    session.flush();
    Status::NoContent
}

#[cfg(test)]
mod tests;
