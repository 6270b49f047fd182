//! `CrossOriginProtection`: every combination of headers over TCP, real requests of Chromium, catchers, settings and log
//! lines.

mod answers;
#[cfg(unix)]
mod browser;
mod http;
mod matrix;
mod own_origin;
