use session_rocket::Session;

#[derive(Session)]
#[session(scope = "")]
struct Empty {
    sname: Option<String>,
}

#[derive(Session)]
#[session(scope = "school\nStudent")]
struct TwoLines {
    sname: Option<String>,
}

#[derive(Session)]
#[session(scope = "long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long ")]
struct Long {
    sname: Option<String>,
}

fn main() {}
