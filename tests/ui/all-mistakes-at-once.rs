use session_rocket::Session;

#[derive(Session)]
#[session(confg = "school")]
struct Student {
    #[session(renam = "full_name", default)]
    name: Option<String>,
    #[session(identity)]
    number: u64,
    flush: bool,
}

fn visit(session: &Session<Student>, student: &Student) -> bool {
    session.set_number(student.number);
    session.has_name()
}

fn main() {}
