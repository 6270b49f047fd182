use session_rocket::Session;

#[derive(Session)]
struct Student {
    visits: u32,
}

struct Fee(u32);

fn pay(fee: Fee) -> u32 {
    fee.0
}

fn charge(session: &Session<Student>, fee: Fee) {
    session.update_visits(move |visits| *visits += pay(fee));
}

fn main() {}
