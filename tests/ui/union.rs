use session_rocket::Session;

#[derive(Session)]
union Visitor {
    student: u32,
    teacher: u64,
}

fn main() {}
