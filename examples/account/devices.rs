//! The devices on which the user is logged in.

use rocket::response::Redirect;
use rocket::{Route, get, post, routes};
use rocket_dyn_templates::{Template, context};
use session_rocket::{CurrentUser, SessionHandle, Sessions};

use crate::pages::{Result, minute, user_page};
use crate::user::Account;
use crate::users::User;

pub fn routes() -> Vec<Route> {
    routes![devices, app, log_out_device, log_out_others]
}

#[get("/devices")]
async fn devices(user: CurrentUser<User>, sessions: Sessions<Account>) -> Result<Template> {
    let current = user.session().handle();
    let devices = sessions.list(&user.id).await?.into_iter().map(|listing| {
        let (login, last_saved) = (minute(listing.created_at), minute(listing.last_saved));
        let is_current = Some(listing.handle) == current;
        context! { handle: listing.handle, name: listing.data.device, login, last_saved, is_current }
    });
    user_page(&user, "devices", context! { devices: devices.collect::<Vec<_>>() }).await
}

/// The page whose script calls `/api/devices` with this CSRF token.
#[get("/app")]
async fn app(user: CurrentUser<User>) -> Result<Template> {
    user_page(&user, "app", context! { csrf_token: user.session().csrf_token() }).await
}

#[post("/devices/<handle>/logout")]
async fn log_out_device(
    user: CurrentUser<User>,
    sessions: Sessions<Account>,
    handle: SessionHandle,
) -> Result<Redirect> {
    let ended = sessions.revoke(&user.id, &handle).await?;
    let notice = if ended == 1 { "The device is logged out." } else { "The device was not logged in any more." };
    user.session().set_notice(notice);
    Ok(Redirect::to("/devices/"))
}

#[post("/devices/logout-others")]
async fn log_out_others(user: CurrentUser<User>, sessions: Sessions<Account>) -> Result<Redirect> {
    let ended = sessions.revoke_others(user.session()).await?;
    user.session().set_notice(format!("Other devices logged out: {ended}."));
    Ok(Redirect::to("/devices/"))
}
