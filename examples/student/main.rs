//! The student example: `/student/ssession` fills a session, `/student/gsession` reads it and deletes the name.

use rocket::response::{content::RawHtml, status::NotFound};
use rocket::{get, launch, routes};
use session_rocket::Session;

/// What the school site remembers about a visitor.
#[derive(Session)]
struct Student {
    sname: Option<String>,
    semail: Option<String>,
    #[session(default = "Guest")]
    username: String,
    num_visits: u32,
}

#[get("/ssession")]
fn setsession(session: Session<Student>) -> &'static str {
    session.set_sname("rajat");
    session.set_semail("rajat@example.com");
    "session is set"
}

#[get("/gsession")]
fn getsession(session: Session<Student>) -> Result<String, NotFound<&'static str>> {
    let (Some(name), Some(email)) = (session.sname(), session.semail()) else {
        return Err(NotFound("no student in this session: visit /student/ssession first"));
    };
    session.delete_sname();
    Ok(format!("{name} {email}"))
}

#[get("/hello")]
fn hello(student: &Student) -> String {
    format!("Hello, {}!", student.username)
}

#[get("/")]
fn index(session: Session<Student>) -> RawHtml<String> {
    let visits = session.update_num_visits(|visits| {
        *visits += 1;
        *visits
    });
    RawHtml(format!(
        "{HEAD}
         <p>Visits of this page: {visits}</p>
         <p><a href='/student/ssession'>Set the session</a>, then <a href='/student/gsession'>read it</a></p>"
    ))
}

const HEAD: &str = "<!doctype html><html lang='en'><title>School</title>
<meta name='viewport' content='width=device-width'><link rel='icon' href='data:,'>
<style>
  html { padding: 1rem; color-scheme: light dark; background: light-dark(#f4f5f8, #13161d); font: 1.1rem/1.6 system-ui, sans-serif }
  body { max-width: 28rem; margin: 2rem auto; padding: .5rem 2rem; background: light-dark(#fff, #1c212b);
    border: 1px solid light-dark(#dfe3ea, #303746); border-radius: .9rem; box-shadow: 0 8px 24px rgb(0 0 0 / .05) }
  a { color: light-dark(#b3261e, #ff8a7a) }
</style>";

#[launch]
fn rocket() -> _ {
    rocket::build()
        .attach(Session::<Student>::fairing())
        .mount("/", routes![index])
        .mount("/student", routes![setsession, getsession, hello])
}

#[cfg(test)]
mod browser;
#[cfg(all(test, unix))]
mod stores;
#[cfg(test)]
mod tests;
