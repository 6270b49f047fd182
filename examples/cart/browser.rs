use session_rocket_tests::chromium::{Chromium, Tab};
use session_rocket_tests::served::Served;

fn add(tab: &Tab, article: &str) {
    tab.leave_with(&[], &submit_script(article));
}

fn submit_script(article: &str) -> String {
    format!("document.querySelector('input[value=\"{article}\"]').form.requestSubmit()")
}

#[test]
fn a_cart_survives_the_login_and_becomes_an_order() {
    let site = Served::start(super::rocket());
    let browser = Chromium::start();
    browser.open(site.url("/"));
    browser.screenshot("cart-catalogue");
    add(&browser, "notebook");
    add(&browser, "pencil");
    assert!(browser.text().contains("Cart (2)"), "{}", browser.text());
    let anonymous = browser.cookie("sessionid").unwrap().value;
    browser.click("Login");
    browser.screenshot("cart-login");
    browser.fill("name", "Ada <Lovelace>");
    browser.submit();
    assert!(browser.text().contains("Ada <Lovelace>") && browser.text().contains("Cart (2)"), "{}", browser.text());
    assert_ne!(browser.cookie("sessionid").unwrap().value, anonymous);
    browser.click("Cart (2)");
    assert_eq!(browser.text_of("tfoot .number"), "6.10 €");
    browser.screenshot("cart-cart");
    browser.click("Check out");
    browser.screenshot("cart-address");
    for (field, value) in [("name", "Ada"), ("street", "Main Street 1"), ("postcode", "12345"), ("city", "Springfield")]
    {
        browser.fill(field, value);
    }
    browser.click("Continue");
    browser.script("document.querySelector('[name=delivery]').click()");
    browser.screenshot("cart-delivery");
    // Going back shows the entered values.
    browser.click("Back to the address");
    assert_eq!(browser.script("return document.querySelector('[name=city]').value"), "Springfield");
    browser.click("Continue");
    browser.script("document.querySelector('[name=delivery]').click()");
    browser.click("Continue");
    assert!(browser.text().contains("Springfield"), "{}", browser.text());
    browser.screenshot("cart-confirm");
    browser.click("Order");
    assert_eq!(browser.text_of("h1"), "Thank you for your order");
    assert!(browser.text().contains("Cart (0)"), "{}", browser.text());
    browser.screenshot("cart-order");
    browser.click("Logout");
    assert!(!browser.text().contains("Lovelace"), "{}", browser.text());
}

#[test]
fn two_tabs_that_add_at_the_same_time_lose_nothing() {
    let site = Served::start(super::rocket());
    let browser = Chromium::start();
    browser.open(site.url("/"));
    // The first addition starts the session that the tabs share.
    add(&browser, "ink");
    let second = browser.new_tab();
    second.open(site.url("/"));
    for round in 1..=5 {
        browser.leave_with(&[&second], &submit_script("ink"));
        browser.reload();
        assert!(browser.text().contains(&format!("Cart ({})", 1 + 2 * round)), "{round}: {}", browser.text());
    }
    browser.screenshot("cart-two-tabs");
}

#[test]
fn preferences_are_stored_and_applied() {
    let site = Served::start(super::rocket());
    let browser = Chromium::start();
    browser.open(site.url("/preferences/"));
    browser.screenshot("cart-preferences");
    browser.script("document.querySelector('[value=dark]').click(); document.querySelector('[value=usd]').click()");
    browser.click("Save");
    browser.open(site.url("/"));
    assert!(browser.text().contains("$5.50"), "{}", browser.text());
    assert_eq!(browser.script("return document.documentElement.dataset.theme"), "dark");
    browser.screenshot("cart-dark");
    browser.resize(380, 844);
    let names_are_one_line =
        "return [...document.querySelectorAll('td:first-child')].every(name => name.clientHeight < 50)";
    assert_eq!(browser.script(names_are_one_line), true, "an article's name wraps");
    browser.screenshot("cart-phone");
}

#[test]
fn the_back_button_shows_no_data_after_a_logout() {
    let site = Served::start(super::rocket());
    let browser = Chromium::start();
    browser.open(site.url("/login/"));
    browser.fill("name", "Grace");
    browser.submit();
    let cookie = browser.cookie("sessionid").unwrap();
    assert!(cookie.http_only && cookie.same_site.as_deref() == Some("Lax") && cookie.path == "/", "{cookie:?}");
    add(&browser, "paper");
    browser.open(site.url("/cart/"));
    browser.click("Logout");
    browser.back();
    browser.wait_for("Your cart is empty.");
    assert!(!browser.text().contains("Grace") && !browser.text().contains("Cart (1)"), "{}", browser.text());
    browser.screenshot("cart-back-after-logout");
}
