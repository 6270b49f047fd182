use std::path::Path;

use rocket::futures::future::join_all;
use rocket::http::{ContentType, Cookie, Header, Status};
use rocket::local::asynchronous::{Client, LocalResponse};

const ADDRESS: &str = "name=Ada&street=Main+Street+1&postcode=12345&city=Springfield";

struct Browser(Client);

/// The status, the `Location` header, and the page.
type Reply = (Status, String, String);

async fn read(response: LocalResponse<'_>) -> Reply {
    assert_eq!(response.headers().get_one("Cache-Control"), Some("no-store"));
    let location = response.headers().get_one("Location").unwrap_or_default().to_owned();
    (response.status(), location, response.into_string().await.unwrap_or_default())
}

fn redirect_to(path: &str) -> Reply {
    (Status::SeeOther, path.to_owned(), String::new())
}

#[track_caller]
fn assert_shows(reply: &Reply, parts: &[&str]) {
    let (status, _, page) = reply;
    assert_eq!(*status, Status::Ok, "{page}");
    parts.iter().for_each(|part| assert!(page.contains(part), "{part:?} is not in {page}"));
}

impl Browser {
    async fn new(dir: &Path) -> Self {
        let store = format!("sqlite://{}", dir.join("sessions.db").display());
        let figment = rocket::Config::figment().merge(("session.store", store)).merge(("log_level", "off"));
        Self(Client::tracked(super::rocket().configure(figment)).await.unwrap())
    }

    async fn get(&self, path: &str) -> Reply {
        read(self.0.get(path.to_owned()).dispatch().await).await
    }

    async fn post(&self, path: &str, form: &str) -> Reply {
        read(self.0.post(path.to_owned()).header(ContentType::Form).body(form).dispatch().await).await
    }

    /// Posts a form as a browser does for a page of another site.
    async fn post_from_another_site(&self, path: &str, form: &str) -> Reply {
        let request = self.0.post(path.to_owned()).header(ContentType::Form).body(form);
        let request = request.header(Header::new("Sec-Fetch-Site", "cross-site"));
        read(request.header(Header::new("Origin", "https://evil.example")).dispatch().await).await
    }

    async fn add(&self, article: &str, quantity: u32) {
        let form = format!("article={article}&quantity={quantity}");
        assert_eq!(self.post("/cart/add/", &form).await, redirect_to("/"));
    }

    async fn get_with(&self, path: &str, cookie: Cookie<'static>) -> Reply {
        read(self.0.get(path.to_owned()).cookie(cookie).dispatch().await).await
    }

    fn cookie(&self) -> Option<Cookie<'static>> {
        self.0.cookies().get("sessionid").cloned()
    }
}

#[rocket::async_test]
async fn an_anonymous_visitor_fills_a_cart_and_changes_it() {
    let dir = tempfile::tempdir().unwrap();
    let browser = Browser::new(dir.path()).await;
    assert_shows(&browser.get("/").await, &["Everything for the desk", "Fountain pen", "39.00 €", "Cart (0)"]);
    assert_shows(&browser.get("/cart").await, &["Your cart is empty"]);
    browser.add("ink", 2).await;
    assert_shows(&browser.get("/").await, &["Your cart has 2 × Bottle of ink, blue.", "Cart (2)"]);
    assert!(!browser.get("/").await.2.contains("Your cart has"), "shown twice");
    browser.add("ink", 1).await;
    browser.add("pencil", 1).await;
    assert_shows(&browser.get("/cart/").await, &["25.35 €", "1.20 €", "26.55 €", "value=\"3\""]);
    assert_eq!(browser.post("/cart/change/", "article=ink&quantity=1").await, redirect_to("/cart/"));
    assert_shows(&browser.get("/cart/").await, &["9.65 €", "Cart (2)"]);
    assert_eq!(browser.post("/cart/remove/", "article=ink").await, redirect_to("/cart/"));
    let page = browser.get("/cart/").await;
    assert_shows(&page, &["1.20 €", "Cart (1)"]);
    assert!(!page.2.contains("Bottle of ink"));
    assert_eq!(browser.get("/nowhere").await.0, Status::NotFound);
}

#[rocket::async_test]
async fn a_quantity_out_of_range_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let browser = Browser::new(dir.path()).await;
    for invalid in ["0", "100", "-1", "", "many", "99999999999999999999", "%3Cscript%3E"] {
        for path in ["/cart/add/", "/cart/change/"] {
            let (status, _, page) = browser.post(path, &format!("article=ink&quantity={invalid}")).await;
            assert_eq!(status, Status::UnprocessableEntity);
            assert!(!page.contains("<script>"), "{page}");
            assert_eq!(page.contains("Please enter a number from 1 to 99."), path == "/cart/add/", "{page}");
        }
    }
    let (status, _, _) = browser.post("/cart/add/", "article=yacht&quantity=1").await;
    assert_eq!(status, Status::UnprocessableEntity);
    browser.add("ink", 99).await;
    browser.add("ink", 99).await;
    assert_shows(&browser.get("/").await, &["99 × Bottle of ink, blue, the maximum.", "Cart (99)"]);
    let (_, _, page) = browser.post("/cart/change/", "article=ink&quantity=1000").await;
    assert!(page.contains("value=\"1000\"") && page.contains("Please enter a number from 1 to 99."), "{page}");
}

#[rocket::async_test]
async fn concurrent_additions_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let browser = Browser::new(dir.path()).await;
    // The first addition starts the session that the tabs share.
    browser.add("ink", 1).await;
    let forms = ["article=ink&quantity=1", "article=paper&quantity=1"];
    let tabs = (1..40).map(|n| browser.post("/cart/add/", forms[n % 2]));
    for reply in join_all(tabs).await {
        assert_eq!(reply, redirect_to("/"));
    }
    // 20 × 8.45 + 20 × 6.99
    assert_shows(&browser.get("/cart/").await, &["Cart (40)", "308.80 €"]);
}

#[rocket::async_test]
async fn a_login_keeps_the_cart_and_a_logout_ends_every_earlier_cookie() {
    let dir = tempfile::tempdir().unwrap();
    let browser = Browser::new(dir.path()).await;
    browser.add("desk-lamp", 1).await;
    let anonymous = browser.cookie().unwrap();
    assert_shows(&browser.get("/login").await, &["<label for=\"name\">Name</label>"]);
    assert_eq!(browser.post("/login/", "name=+Ada+").await, redirect_to("/"));
    let known = browser.cookie().unwrap();
    assert_ne!(anonymous.value(), known.value());
    let other = Browser::new(dir.path()).await;
    assert_shows(&other.get_with("/", anonymous.clone()).await, &["Cart (0)", "href=\"/login/\""]);
    assert_shows(&browser.get("/").await, &["Hello, Ada!", "Cart (1)", "<span>Ada</span>"]);
    // A link does not log out.
    assert_eq!(browser.get("/logout/").await, redirect_to("/"));
    assert_shows(&browser.get("/").await, &["<span>Ada</span>"]);
    assert_eq!(browser.post("/logout/", "").await, redirect_to("/"));
    assert_eq!(browser.cookie(), None);
    for old in [anonymous, known] {
        let page = browser.get_with("/", old).await;
        assert_shows(&page, &["Cart (0)", "href=\"/login/\""]);
        assert!(!page.2.contains("Ada"));
    }
}

#[rocket::async_test]
async fn a_login_of_another_customer_empties_the_cart() {
    let dir = tempfile::tempdir().unwrap();
    let browser = Browser::new(dir.path()).await;
    browser.post("/login/", "name=Ada").await;
    browser.add("ink", 1).await;
    browser.post("/login/", "name=Ada").await;
    assert_shows(&browser.get("/").await, &["Cart (1)"]);
    browser.post("/login/", "name=Bob").await;
    assert_shows(&browser.get("/").await, &["Hello, Bob!", "Cart (0)"]);
}

#[rocket::async_test]
async fn preferences_are_stored_and_applied() {
    let dir = tempfile::tempdir().unwrap();
    let browser = Browser::new(dir.path()).await;
    assert_shows(&browser.get("/").await, &["data-theme=\"auto\""]);
    assert_eq!(browser.post("/preferences/", "theme=dark&currency=usd").await, redirect_to("/preferences/"));
    assert_shows(
        &browser.get("/preferences/").await,
        &["Saved.", "value=\"dark\" required checked", "value=\"usd\" required checked"],
    );
    assert_shows(&browser.get("/").await, &["data-theme=\"dark\"", "$42.00"]);
    assert_eq!(browser.post("/preferences/", "theme=pink&currency=usd").await.0, Status::UnprocessableEntity);
    assert_shows(&browser.get("/").await, &["data-theme=\"dark\""]);
}

#[rocket::async_test]
async fn no_step_of_the_checkout_can_be_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let browser = Browser::new(dir.path()).await;
    for path in ["/checkout/", "/checkout/address/", "/checkout/delivery", "/checkout/confirm/"] {
        assert_eq!(browser.get(path).await, redirect_to("/cart/"));
    }
    assert_eq!(browser.get("/order/").await, redirect_to("/"));
    browser.add("pencil", 5).await;
    for path in ["/checkout/", "/checkout/delivery/", "/checkout/confirm/"] {
        assert_eq!(browser.get(path).await, redirect_to("/checkout/address/"));
    }
    assert_eq!(browser.post("/checkout/delivery/", "delivery=express").await, redirect_to("/checkout/address/"));
    assert_eq!(browser.post("/checkout/confirm/", "total=600").await, redirect_to("/checkout/"));
    assert_shows(&browser.get("/checkout/address").await, &["Step 1 of 3", "<label for=\"street\">"]);
    assert_eq!(browser.post("/checkout/address/", ADDRESS).await, redirect_to("/checkout/delivery/"));
    for path in ["/checkout/", "/checkout/confirm/"] {
        assert_eq!(browser.get(path).await, redirect_to("/checkout/delivery/"));
    }
    assert_shows(&browser.get("/checkout/delivery/").await, &["Step 2 of 3", "Express, tomorrow: 9.90 €"]);
    assert_eq!(browser.post("/checkout/delivery/", "delivery=express").await, redirect_to("/checkout/confirm/"));
    // Going back shows the entered values and loses nothing.
    assert_shows(&browser.get("/checkout/address/").await, &["value=\"Main Street 1\"", "value=\"12345\""]);
    assert_shows(&browser.get("/checkout/delivery/").await, &["value=\"express\" required checked"]);
    assert_eq!(browser.get("/checkout/").await, redirect_to("/checkout/confirm/"));
    let page = browser.get("/checkout/confirm/").await;
    assert_shows(&page, &["5 × Pencil, HB", "6.00 €", "15.90 €", "Main Street 1", "name=\"total\" value=\"1590\""]);
    assert_eq!(browser.post("/checkout/confirm/", "total=1590").await, redirect_to("/order/"));
    assert_shows(
        &browser.get("/order").await,
        &["Thank you for your order", "no. 1", "15.90 €", "Springfield", "Cart (0)"],
    );
    // The answers are deleted, and a second press of the button does nothing.
    assert_eq!(browser.post("/checkout/confirm/", "total=1590").await, redirect_to("/order/"));
    assert_shows(&browser.get("/order/").await, &["no. 1"]);
    browser.add("ink", 1).await;
    assert_eq!(browser.get("/checkout/").await, redirect_to("/checkout/address/"));
    assert!(!browser.get("/checkout/address/").await.2.contains("Main Street"));
}

#[rocket::async_test]
async fn an_invalid_address_has_an_error_per_field_and_is_escaped() {
    let dir = tempfile::tempdir().unwrap();
    let browser = Browser::new(dir.path()).await;
    browser.add("ink", 1).await;
    let form = "name=<script>alert(1)</script>&street=+&postcode=?!&city=\"><b>x";
    let (status, _, page) = browser.post("/checkout/address/", form).await;
    assert_eq!(status, Status::UnprocessableEntity);
    for part in [
        "id=\"street-error\">Please fill this in.",
        "id=\"postcode-error\">Please enter only letters",
        "&lt;script&gt;",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    assert!(!page.contains("<script>") && !page.contains("<b>x") && !page.contains("name-error"), "{page}");
    let (status, _, page) = browser.post("/checkout/address/", "city=x").await;
    assert_eq!(status, Status::UnprocessableEntity);
    assert_eq!(page.matches("class=\"error\"").count(), 3, "{page}");
    let form = "name=<script>&street=<script>&postcode=1&city=<script>";
    assert_eq!(browser.post("/checkout/address/", form).await, redirect_to("/checkout/delivery/"));
    for (form, error) in [("", "This field is missing."), ("delivery=drone", "Please choose an option.")] {
        let (status, _, page) = browser.post("/checkout/delivery/", form).await;
        assert_eq!(status, Status::UnprocessableEntity);
        assert!(page.contains(&format!("class=\"error\">{error}")), "{page}");
    }
    browser.post("/checkout/delivery/", "delivery=pickup").await;
    browser.post("/login/", "name=<script>").await;
    for path in ["/", "/checkout/address/", "/checkout/confirm/"] {
        let (_, _, page) = browser.get(path).await;
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script>"), "{page}");
    }
}

#[rocket::async_test]
async fn an_order_has_the_confirmed_total_and_is_placed_once() {
    let dir = tempfile::tempdir().unwrap();
    let browser = Browser::new(dir.path()).await;
    browser.add("ink", 1).await;
    browser.post("/checkout/address/", ADDRESS).await;
    browser.post("/checkout/delivery/", "delivery=pickup").await;
    browser.add("ink", 1).await;
    assert_eq!(browser.post("/checkout/confirm/", "total=845").await, redirect_to("/checkout/confirm/"));
    let page = browser.get("/checkout/confirm/").await;
    assert_shows(&page, &["Your cart has changed.", "value=\"1690\""]);
    for reply in join_all((0..10).map(|_| browser.post("/checkout/confirm/", "total=1690"))).await {
        assert_eq!(reply, redirect_to("/order/"));
    }
    assert_shows(&browser.get("/order/").await, &["no. 1.", "2 × Bottle of ink, blue", "16.90 €", "Cart (0)"]);
}

#[rocket::async_test]
async fn requests_of_other_sites_are_refused_and_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let browser = Browser::new(dir.path()).await;
    browser.add("ink", 1).await;
    let paths = ["cart/add", "cart/change", "cart/remove", "login", "logout", "preferences"];
    let steps = ["checkout/address", "checkout/delivery", "checkout/confirm"];
    let form = "article=ink&quantity=5&name=Eve&theme=dark&currency=usd";
    for path in paths.into_iter().chain(steps) {
        let (status, _, page) = browser.post_from_another_site(&format!("/{path}/"), form).await;
        assert_eq!(status, Status::Forbidden, "{path}");
        assert!(page.contains("<h1>Forbidden</h1>"), "{page}");
    }
    let page = browser.get("/cart/").await;
    assert_shows(&page, &["Cart (1)", "data-theme=\"auto\"", "8.45 €", "href=\"/login/\""]);
}

#[rocket::async_test]
async fn a_cart_survives_a_restart_of_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let cookie = {
        let browser = Browser::new(dir.path()).await;
        browser.add("ink", 3).await;
        browser.cookie().unwrap()
    };
    let browser = Browser::new(dir.path()).await;
    assert_shows(&browser.get_with("/cart/", cookie).await, &["Cart (3)", "25.35 €"]);
}
