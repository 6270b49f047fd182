//! Uses the code that `#[derive(Session)]` generates in requests, as users do.

use rocket::local::blocking::{Client, LocalResponse};
use rocket::{get, routes};
use serde::{Deserialize, Serialize};
use session_rocket::time::{Duration, OffsetDateTime, UtcOffset};
use session_rocket::{Config, Format, Session, SessionData};

/// Launches a site with `routes` and one session type.
fn client<T: SessionData>(routes: Vec<rocket::Route>) -> Client {
    let fairing = Session::<T>::fairing().config(Config::new().store("memory:"));
    Client::untracked(rocket::build().attach(fairing).mount("/", routes)).expect("the site launches")
}

fn text(response: LocalResponse<'_>) -> String {
    assert_eq!(response.status().code, 200);
    response.into_string().unwrap_or_default()
}

/// Has every kind of field, and other derives.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, Session)]
struct Student {
    sname: Option<String>,
    #[session(default = "Guest")]
    username: String,
    #[session(default = 6 * 7)]
    answer: i64,
    num_visits: u32,
    r#type: Option<char>,
    courses: Vec<String>,
}

#[get("/optional")]
fn optional(session: Session<Student>) {
    assert_eq!(session.sname(), None);
    assert!(!session.has_sname());
    assert_eq!(session.setdefault_sname("rajat"), "rajat");
    assert_eq!(session.setdefault_sname("arun"), "rajat");
    session.set_sname(String::from("arun"));
    assert_eq!(session.with_sname(|name| name.map(String::len)), Some(4));
    let before = session.update_sname(|name| name.replace("sonam".into()));
    assert_eq!(before.as_deref(), Some("arun"));
    assert!(session.has_sname());
    assert_eq!(session.delete_sname().as_deref(), Some("sonam"));
    assert_eq!(session.delete_sname(), None);
}

#[get("/defaulted")]
fn defaulted(session: Session<Student>) {
    assert_eq!((session.username(), session.answer(), session.num_visits()), ("Guest".into(), 42, 0));
    assert!(!session.has_username(), "the read stored the default");
    assert_eq!(session.setdefault_num_visits(3), 3);
    assert_eq!(session.update_num_visits(|visits| std::mem::replace(visits, 4)), 3);
    assert_eq!(session.with_num_visits(|visits| *visits), 4);
    assert_eq!(session.delete_num_visits(), Some(4));
    assert_eq!(session.num_visits(), 0);
    session.update_courses(|courses| courses.push("rust".into()));
    assert_eq!(session.courses(), ["rust"]);
}

#[get("/raw")]
fn raw(session: Session<Student>) -> String {
    session.set_type('x');
    assert_eq!(session.r#type(), Some('x'));
    session.keys().join(" ")
}

#[get("/whole")]
fn whole(session: Session<Student>, before: &Student) -> String {
    assert_eq!(before.username, "Guest");
    let student = Student { sname: Some("rajat".into()), num_visits: 1, ..session.get() };
    session.replace(student.clone());
    assert_eq!(session.get(), student);
    session.update(|student| student.num_visits += 1);
    session.num_visits().to_string()
}

#[test]
fn each_accessor_reads_and_changes_its_field() {
    let client = client::<Student>(routes![optional, defaulted, raw, whole]);
    for path in ["/optional", "/defaulted"] {
        text(client.get(path).dispatch());
    }
    assert_eq!(text(client.get("/raw").dispatch()), "type");
    assert_eq!(text(client.get("/whole").dispatch()), "2");
}

/// Sets the names that are used in the store.
#[derive(Session)]
#[session(config = "shop", scope = "former::Shop", fields = "Remembered")]
struct Shop {
    #[session(rename = "basket")]
    cart: Vec<u32>,
    #[session(identity)]
    account: Option<u64>,
    #[session(extra)]
    rest: serde_json::Map<String, serde_json::Value>,
}

fn fill(remembered: &Remembered) {
    remembered.update_cart(|cart| cart.push(1));
    remembered.update_rest(|rest| _ = rest.insert("colour".into(), "red".into()));
}

#[get("/fill")]
fn fill_cart(session: Session<Shop>) -> String {
    fill(&session);
    session.set_account(5_u64);
    serde_json::to_string(&session.items()).expect("the map can be serialized")
}

#[test]
fn attributes_set_the_names_in_the_store_and_the_configuration() {
    let client = client::<Shop>(routes![fill_cart]);
    let items: serde_json::Value = text(client.get("/fill").dispatch()).parse().expect("the response is JSON");
    assert_eq!(items, serde_json::json!({ "basket": [1], "account": 5, "colour": "red" }));
    assert_eq!((Shop::NAME, Shop::CONFIG, Shop::SCOPE), ("Shop", "shop", "former::Shop"));
}

/// The stored form of a date does not depend on which features of `time` other crates enable.
#[derive(Session)]
#[session(config = "trial")]
struct Trial {
    ends: Option<OffsetDateTime>,
}

/// 2031-02-03 03:05:06.789 UTC.
fn end_of_trial() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::milliseconds(1_927_854_306_789)
}

#[get("/start")]
fn start_trial(session: Session<Trial>) -> String {
    session.set_ends(end_of_trial().to_offset(UtcOffset::from_hms(1, 0, 0).expect("the offset is valid")));
    serde_json::to_string(&session.items()).expect("the map can be serialized")
}

#[get("/trial")]
fn show_trial(session: Session<Trial>) -> String {
    (session.ends() == Some(end_of_trial())).to_string()
}

#[test]
fn a_date_can_be_a_field() {
    let client = client::<Trial>(routes![start_trial, show_trial]);
    let started = client.get("/start").dispatch();
    let cookies: Vec<_> = started.cookies().iter().cloned().collect();
    assert_eq!(text(started), r#"{"ends":"2031-02-03 04:05:06.789 +01:00:00"}"#);
    assert_eq!(text(client.get("/trial").cookies(cookies).dispatch()), "true");
}

/// The compiler wraps types from a macro's parameters in invisible groups.
macro_rules! session {
    ($name:ident { $($field:ident: $type:ty = $default:expr),* ; $optional:ident: Option<$inner:ty>, $whole:ty }) => {
        #[derive(Session)]
        struct $name {
            $(#[session(default = $default)] $field: $type,)*
            $optional: Option<$inner>,
            whole: $whole,
        }
    };
}

session!(Made { city: String = "Delhi", zone: i8 = 5 ; street: Option<String>, Option<String> });

#[get("/made")]
fn made(session: Session<Made>) {
    session.set_city("Pune");
    session.set_street("Main");
    session.set_whole("an `Option<String>`");
    assert_eq!((session.zone(), session.whole().is_some()), (5, true));
}

#[test]
fn a_macro_can_generate_the_struct() {
    text(client::<Made>(routes![made]).get("/made").dispatch());
}

mod inner {
    use super::Session;

    /// The accessors have the visibility of their fields.
    #[derive(Session)]
    pub(super) struct Visits {
        pub(super) count: u32,
        secret: Option<String>,
    }

    pub(super) fn set_secret(session: &Session<Visits>) -> Option<String> {
        session.set_secret("secret");
        session.secret()
    }
}

#[get("/visits")]
fn visits(session: Session<inner::Visits>) {
    session.set_count(1);
    assert_eq!(inner::set_secret(&session).as_deref(), Some("secret"));
}

/// A type without serde's traits.
#[derive(Debug, Clone, PartialEq)]
struct Grade(u8);

/// Encodes a grade as a letter.
mod letter {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::Grade;

    pub fn serialize<S: Serializer>(grade: &Grade, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_char(char::from(b'A' + grade.0))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Grade, D::Error> {
        let letter = char::deserialize(deserializer)?;
        let grade = u8::try_from(letter).ok().and_then(|letter| letter.checked_sub(b'A'));
        grade.map(Grade).ok_or_else(|| D::Error::custom("expected a letter"))
    }
}

#[derive(Session)]
struct Graded {
    #[session(with = "letter")]
    oral: Option<Grade>,
    #[session(with = "self::letter", default = Grade(5))]
    written: Grade,
}

#[get("/grade")]
fn grade(session: Session<Graded>) -> String {
    assert_eq!((session.oral(), session.written()), (None, Grade(5)));
    session.set_oral(Grade(0));
    session.update_written(|grade| grade.0 -= 1);
    serde_json::to_string(&session.items()).expect("the map can be serialized")
}

#[get("/graded")]
fn graded(session: Session<Graded>, snapshot: &Graded) -> String {
    assert_eq!((session.oral(), session.written()), (Some(Grade(0)), Grade(4)));
    assert_eq!((&snapshot.oral, &snapshot.written), (&Some(Grade(0)), &Grade(4)));
    serde_json::to_string(&session).expect("a session can be serialized for templates")
}

#[test]
fn the_module_of_a_with_attribute_encodes_and_decodes_the_field() {
    let expected = r#"{"oral":"A","written":"E"}"#;
    for format in [Format::Json, Format::MessagePack] {
        let config = Config::new().store("memory:").format(format);
        let rocket = rocket::build().attach(Session::<Graded>::fairing().config(config));
        let client = Client::tracked(rocket.mount("/", routes![grade, graded])).expect("the site launches");
        assert_eq!(text(client.get("/grade").dispatch()), expected);
        assert_eq!(text(client.get("/graded").dispatch()), expected);
    }
}

/// A type without `Clone` and without serde's traits.
#[derive(Debug, Default, PartialEq)]
struct Scratch(u8);

#[derive(Session)]
struct Skipping {
    #[session(skip)]
    secret: Option<String>,
    shown: u8,
    #[session(skip, default = Some(7))]
    answer: Option<u8>,
    #[session(skip)]
    scratch: Scratch,
    name: Option<String>,
}

#[get("/fill")]
fn fill_skipping(session: Session<Skipping>) -> String {
    session.set_shown(1);
    session.update(|data| {
        data.secret = Some("hunter2".into());
        data.scratch.0 += 1;
        data.name = Some("rajat".into());
    });
    let data = session.get();
    assert_eq!((data.secret, data.answer, data.scratch), (None, Some(7), Scratch(0)));
    session.replace(Skipping { secret: Some("hunter2".into()), answer: None, shown: 2, ..session.get() });
    assert_eq!(session.items().len(), 2);
    session.keys().join(" ")
}

#[get("/skipped")]
fn skipped(data: &Skipping) -> String {
    format!("{:?} {:?} {:?} {} {:?}", data.secret, data.answer, data.scratch, data.shown, data.name)
}

#[test]
fn a_skipped_field_has_its_default_in_each_snapshot_and_is_not_stored() {
    let fairing = Session::<Skipping>::fairing().config(Config::new().store("memory:"));
    let rocket = rocket::build().attach(fairing).mount("/", routes![fill_skipping, skipped]);
    let client = Client::tracked(rocket).expect("the site launches");
    assert_eq!(text(client.get("/fill").dispatch()), "shown name");
    assert_eq!(text(client.get("/skipped").dispatch()), r#"None Some(7) Scratch(0) 2 Some("rajat")"#);
}

/// No method of `Session` has one of these names.
#[derive(Session)]
struct PlainNames {
    user: Option<String>,
    login: Option<String>,
    list: Vec<u8>,
}

#[get("/names")]
fn plain_names(session: Session<PlainNames>) -> String {
    session.set_user("rajat");
    session.set_login("today");
    session.update_list(|list| list.push(1));
    format!("{:?} {:?} {:?}", session.user(), session.login(), session.list())
}

#[test]
fn a_field_can_have_any_name_except_those_of_the_methods_of_session() {
    let client = client::<PlainNames>(routes![plain_names]);
    assert_eq!(text(client.get("/names").dispatch()), r#"Some("rajat") Some("today") [1]"#);
}

/// Has a method with the name of an accessor of `Session<PlainNames>`.
mod label {
    pub(super) trait Label {
        fn user(&self) -> &'static str {
            "label"
        }
    }

    impl Label for super::Session<super::PlainNames> {}
}

#[get("/hidden")]
fn hidden_name(session: Session<PlainNames>) -> String {
    use label::Label;

    session.fields().set_user("rajat");
    format!("{} {:?}", session.user(), session.fields().user())
}

#[test]
fn fields_reaches_an_accessor_that_a_method_of_a_trait_hides() {
    let client = client::<PlainNames>(routes![hidden_name]);
    assert_eq!(text(client.get("/hidden").dispatch()), r#"label Some("rajat")"#);
}

#[derive(Session)]
struct Account {
    #[session(identity)]
    name: Option<String>,
}

#[get("/name/<length>")]
async fn long_name(session: Session<Account>, length: usize) -> String {
    session.set_name("x".repeat(length));
    format!("{:?}", session.save().await.map_err(|error| error.kind()))
}

#[test]
fn an_identity_over_255_bytes_is_an_error() {
    let client = client::<Account>(routes![long_name]);
    assert_eq!(text(client.get("/name/255").dispatch()), "Ok(())");
    assert_eq!(client.get("/name/256").dispatch().into_string().as_deref(), Some("Err(Encode)"));
}

#[test]
fn accessors_have_the_visibility_of_their_fields() {
    text(client::<inner::Visits>(routes![visits]).get("/visits").dispatch());
}

#[test]
fn the_struct_can_be_defined_in_a_function() {
    #[derive(Clone, Serialize, Deserialize)]
    struct Local(u8);

    #[derive(Session)]
    struct Visits {
        #[session(default = Local(START))]
        local: Local,
    }

    const START: u8 = 3;

    #[get("/local")]
    fn local(session: Session<Visits>) -> String {
        session.local().0.to_string()
    }

    assert_eq!(text(client::<Visits>(routes![local]).get("/local").dispatch()), "3");
}

/// Has no fields, like [`Unit`].
#[derive(Session)]
struct Nothing {}

#[derive(Session)]
#[session(config = "unit")]
struct Unit;

#[get("/nothing")]
fn nothing(session: Session<Nothing>, _snapshot: &Nothing) -> String {
    session.keys().len().to_string()
}

#[test]
fn a_struct_can_have_no_fields() {
    assert_eq!(text(client::<Nothing>(routes![nothing]).get("/nothing").dispatch()), "0");
    assert_eq!((Unit::CONFIG, Unit::SCOPE), ("unit", "session-rocket-tests::Unit"));
}

/// The user's own type has the same name as the request guard.
mod own_session {
    use session_rocket::Session as Live;

    #[derive(Live)]
    pub struct Session {
        pub name: Option<String>,
    }

    #[rocket::get("/own")]
    pub fn own(live: Live<Session>, session: &Session) -> String {
        assert_eq!(session.name, None);
        live.setdefault_name("own")
    }
}

#[test]
fn the_session_type_can_be_named_session() {
    let client = client::<own_session::Session>(routes![own_session::own]);
    assert_eq!(text(client.get("/own").dispatch()), "own");
}
