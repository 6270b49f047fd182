//! The maximum number of sessions of one user.

/// What a login does if the user already has [`max_sessions`](field@crate::Config::max_sessions) sessions.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// The login ends the sessions in which the user authenticated longest ago. `Rocket.toml` calls it `"end oldest"`.
    #[default]
    EndOldest,
    /// The login fails with [`ErrorKind::TooManySessions`](crate::ErrorKind::TooManySessions). `Rocket.toml` calls it
    /// `"refuse login"`.
    RefuseLogin,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionLimit {
    pub max: usize,
    pub when_full: WhenFull,
}
