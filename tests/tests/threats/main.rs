//! Attacks that session libraries fell to, and rules that sites are held to: one test each, named as in
//! the guide's page about attacks.

mod cookies;
mod ids;
mod leaks;
mod page;
mod sealed;
mod site;
