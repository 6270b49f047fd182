use rocket::form::Form;
use rocket::post;
use session_rocket::Session;

#[derive(Session)]
struct Student {
    courses: Vec<String>,
}

#[post("/courses", data = "<course>")]
fn enrol(course: Form<&str>, session: Session<Student>) {
    let course: &str = &course;
    session.update_courses(|courses| courses.push(course.to_owned()));
}

fn main() {}
