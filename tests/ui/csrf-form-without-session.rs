use rocket::{FromForm, post};
use session_rocket::CsrfForm;

#[derive(FromForm)]
struct Naming {
    name: String,
}

#[post("/", data = "<form>")]
fn name(form: CsrfForm<Naming>) -> String {
    let _ = form;
    String::new()
}

fn main() {}
