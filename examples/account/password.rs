//! The password change. It asks for the current password unless the user entered it in the last five minutes.

use rocket::form::{Form, FromForm};
use rocket::{Route, State, get, post, routes};
use rocket_dyn_templates::context;
use session_rocket::{CurrentUser, LoadUser, LoginError, RecentLogin, Sessions};

use crate::pages::{PASSWORD_TOO_SHORT, Reply, Result, is_too_short, user_page};
use crate::user::Account;
use crate::users::{User, Users};

pub fn routes() -> Vec<Route> {
    routes![confirm_page, confirm, password_page, change_password]
}

/// An error if the user did not enter the password in the last five minutes. `CurrentUser` excludes all other errors.
type Recent = Result<RecentLogin<Account, 300>, LoginError>;

#[derive(FromForm)]
struct Password {
    password: String,
}

#[get("/confirm")]
async fn confirm_page(user: CurrentUser<User>) -> Result<Reply> {
    Ok(Reply::Page(user_page(&user, "confirm", ()).await?))
}

#[post("/confirm", data = "<form>")]
async fn confirm(user: CurrentUser<User>, users: &State<Users>, form: Form<Password>) -> Result<Reply> {
    if users.authenticate(&user.name, form.into_inner().password).await?.is_none() {
        let page = user_page(&user, "confirm", context! { error: "This is not your password." }).await?;
        return Ok(Reply::InvalidCredentials(page));
    }
    user.log_in(user.session());
    Ok(Reply::redirect("/password/"))
}

#[get("/password")]
async fn password_page(user: CurrentUser<User>, recent: Recent) -> Result<Reply> {
    let Ok(_) = recent else { return Ok(Reply::redirect("/confirm/")) };
    Ok(Reply::Page(user_page(&user, "password", ()).await?))
}

#[post("/password", data = "<form>")]
async fn change_password(
    user: CurrentUser<User>,
    recent: Recent,
    users: &State<Users>,
    sessions: Sessions<Account>,
    form: Form<Password>,
) -> Result<Reply> {
    let Ok(_) = recent else { return Ok(Reply::redirect("/confirm/")) };
    let Password { password } = form.into_inner();
    if is_too_short(&password) {
        return Ok(Reply::Invalid(user_page(&user, "password", context! { error: PASSWORD_TOO_SHORT }).await?));
    }
    if let Some(changed) = users.change_password(user.id, password).await? {
        changed.log_in(user.session());
        sessions.revoke_others(user.session()).await?;
        user.session().set_notice("Your password is changed. Your other devices have to log in again.");
    }
    Ok(Reply::redirect("/"))
}
