//! Sites that run in the process of the test and listen on a port.

use std::path::Path;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rocket::fairing::AdHoc;
use rocket::figment::{Figment, Profile, Provider};
use rocket::{Build, Config, Rocket, Shutdown};
use tempfile::TempDir;

use crate::port::Port;

/// A site on a free port of 127.0.0.1, with its own session database. It runs until the value is dropped.
pub struct Served {
    running: Option<Running>,
    port: Port,
    settings: Figment,
    directory: TempDir,
}

struct Running {
    shutdown: Shutdown,
    thread: JoinHandle<Result<(), String>>,
}

impl Served {
    /// Starts a site.
    ///
    /// # Panics
    /// If the site does not start.
    #[track_caller]
    pub fn start(rocket: Rocket<Build>) -> Self {
        Self::configured(rocket, Figment::new())
    }

    /// Starts a site with additional settings, such as `("session.expiry", "1 hour")`. The profile is `debug`, unless
    /// the settings select another one.
    ///
    /// # Panics
    /// If the site does not start.
    #[track_caller]
    pub fn configured(rocket: Rocket<Build>, settings: impl Provider) -> Self {
        let directory = tempfile::tempdir().expect("a folder for the sessions can be created");
        let store = format!("sqlite://{}", directory.path().join("sessions.db").display());
        // On a busy machine, a call can take longer than the default timeout.
        let settings = Figment::from(("session.store", store)).merge(("session.timeout", "1 minute")).merge(settings);
        let mut site = Self { running: None, port: Port::claim(), settings, directory };
        site.launch(rocket);
        site
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port())
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The folder of the session database `sessions.db`.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Stops the site, and starts another one with the same port, settings and sessions.
    ///
    /// # Panics
    /// If the new site does not start.
    #[track_caller]
    pub fn restart(&mut self, rocket: Rocket<Build>) {
        self.stop().expect("the site shuts down without an error");
        self.launch(rocket);
    }

    #[track_caller]
    fn launch(&mut self, rocket: Rocket<Build>) {
        let (sender, ready) = mpsc::channel();
        let liftoff = AdHoc::on_liftoff("report the launch", move |rocket| {
            // If the launch took too long, the receiver is gone.
            let _ = sender.send(rocket.shutdown());
            Box::pin(async {})
        });
        let figment = self.figment(&rocket);
        let rocket = rocket.configure(figment).attach(liftoff);
        let thread = thread::spawn(move || serve(rocket));
        match ready.recv_timeout(Duration::from_secs(180)) {
            Ok(shutdown) => self.running = Some(Running { shutdown, thread }),
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("the site does not start within three minutes"),
            Err(mpsc::RecvTimeoutError::Disconnected) => panic!("the site does not start: {:?}", thread.join()),
        }
    }

    /// The application's configuration, with the settings of the test on top.
    fn figment(&self, rocket: &Rocket<Build>) -> Figment {
        let chosen = self.settings.profile();
        let profile = if *chosen == Profile::Default { Config::DEBUG_PROFILE } else { chosen.clone() };
        rocket
            .figment()
            .clone()
            .merge((Config::ADDRESS, "127.0.0.1"))
            .merge((Config::PORT, self.port()))
            .merge((Config::LOG_LEVEL, "off"))
            // Signals must stop the test process, not only this site.
            .merge(("shutdown.ctrlc", false))
            .merge(("shutdown.signals", Vec::<String>::new()))
            .merge(("shutdown.grace", 1))
            .merge(("shutdown.mercy", 1))
            .merge(&self.settings)
            .select(profile)
    }

    fn stop(&mut self) -> Result<(), String> {
        let Some(running) = self.running.take() else { return Ok(()) };
        running.shutdown.notify();
        running.thread.join().unwrap_or_else(|_| Err("the site panicked".to_owned()))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let ended = self.stop();
        if !thread::panicking() {
            ended.expect("the site shuts down without an error");
        }
    }
}

/// Runs a site until its shutdown is notified.
fn serve(rocket: Rocket<Build>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(rocket.launch()).map(drop).map_err(|error| error.to_string())
}
