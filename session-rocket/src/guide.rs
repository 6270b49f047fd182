//! From an empty folder to production.
//!
//! | page | about |
//! |---|---|
//! | [`first_site`] | a site that counts visits |
//! | [`reading_and_changing`] | accessors, lost updates |
//! | [`one_time_values`] | messages that are shown once, the state of an OAuth login |
//! | [`saving`] | when changes are saved, errors |
//! | [`streams`] | streams, WebSockets, tasks, and how they notice a logout |
//! | [`configuration`] | `Rocket.toml`, stores, pools, several session types |
//! | [`lifetimes`] | timeouts, renewal, "remember me" |
//! | [`login_and_logout`] | the identity, guards for users, a change of the password |
//! | [`confirming_the_password`] | actions that need a recent login |
//! | [`ending_sessions`] | devices of a user, logging out everywhere, limits, an audit log |
//! | [`forged_requests`] | forms and forged requests (CSRF): which defence to use, tokens, templates |
//! | [`cookies`] | when the cookie is sent, HTTPS, proxies, other sites |
//! | [`apps`] | bearer tokens for apps and API clients, OpenAPI |
//! | [`sealed_cookies`] | sessions without a store |
//! | [`changing_the_struct`] | how a new release of the site reads old sessions |
//! | [`testing`] | a store, users and a clock for tests |
//! | [`production`] | what to check before the site goes live, settings that NIST and OWASP require |
//! | [`making_it_fast`] | the allocator, SQLite, connections, a cache, what a request costs |
//! | [`troubleshooting`] | what to do about an error message |
//! | [`generated_code`] | what the derive generates |
//! | [`from_django`] | settings, methods and differences |
//! | [`from_other_libraries`] | tower-sessions, actix-session, rocket_flex_session |
//! | [`attacks`] | each attack: what the library does, and what the site must do |

/// Declares a module for each page, so that rustdoc shows the page and tests its examples.
macro_rules! pages {
    ($($page:ident)*) => {
        $(
            #[allow(clippy::doc_markdown, reason = "the pages name products")]
            #[doc = include_str!(concat!("guide/", stringify!($page), ".md"))]
            pub mod $page {}
        )*
    };
}

pages! {
    first_site
    reading_and_changing
    one_time_values
    saving
    streams
    configuration
    lifetimes
    login_and_logout
    confirming_the_password
    ending_sessions
    forged_requests
    cookies
    apps
    sealed_cookies
    changing_the_struct
    testing
    production
    making_it_fast
    troubleshooting
    generated_code
    from_django
    from_other_libraries
    attacks
}
