//! The student example: `/student/ssession` fills a session, `/student/gsession` reads it and deletes the name.

use rocket::response::{content::RawHtml, status::NotFound};
use rocket::{get, launch, routes};
use session_rocket::{CrossOriginProtection, Session};

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
  html { --card: light-dark(#fff, #1c212b); --line: 1px solid light-dark(#dfe3ea, #303746);
    --accent: light-dark(#b3261e, #ff8a7a); color-scheme: light dark; color: light-dark(#1d2230, #e7eaf1);
    background: light-dark(#f4f5f8, #13161d) }
  body { margin: 0; font: 1rem/1.6 system-ui, sans-serif }
  header { padding: .8rem max(1.25rem, 50vw - 21.75rem); background: var(--card); border-bottom: var(--line); font-weight: 700 }
  header::before { content: ''; display: inline-block; width: .7rem; height: .7rem; margin-right: .55rem; border-radius: 50%;
    background: var(--accent) }
  main { box-sizing: border-box; max-width: 43.5rem; margin: 2rem auto; padding: .5rem 1.5rem; background: var(--card);
    border: var(--line); border-radius: .9rem; box-shadow: 0 8px 24px rgb(0 0 0 / .05) }
  a { color: var(--accent); text-underline-offset: .15em }
  @media (max-width: 46rem) { main { margin: 1.25rem .75rem } }
</style>
<header>School</header><main>";

#[launch]
fn rocket() -> _ {
    rocket::build()
        .attach(CrossOriginProtection::new())
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
