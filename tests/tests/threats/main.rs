//! Known attacks on session libraries, and security rules for sites. Each has a test whose name begins with the number
//! that the guide's page about attacks gives it.

mod accounts;
mod cookies;
mod ids;
mod leaks;
mod page;
mod sealed;
mod site;
