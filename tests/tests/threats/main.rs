//! Attacks that session libraries fell to, and rules that sites are held to: one test each, named as in
//! `docs/threats.md`, which says where each comes from.

mod cookies;
mod ids;
mod leaks;
mod page;
mod sealed;
mod site;
