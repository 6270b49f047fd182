//! The table of database crates that an application can use together with session-rocket.
//!
//! Only one crate in a lock file may link SQLite, so Cargo refuses some database crates. For each crate, the command lets Cargo
//! resolve the lock file of a temporary package that depends on both. Nothing is built.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Result, cargo_path, root};

/// The crates of the table. Each row adds one of the features to the feature in `always`.
const CRATES: &[Crate] = &[
    Crate {
        name: "rocket_db_pools",
        version: "0.2",
        features: &[
            "deadpool_postgres",
            "deadpool_redis",
            "diesel_mysql",
            "diesel_postgres",
            "mongodb",
            "sqlx_macros",
            "sqlx_mysql",
            "sqlx_postgres",
            "sqlx_sqlite",
        ],
        always: None,
    },
    Crate {
        name: "rocket_sync_db_pools",
        version: "0.1",
        features: &[
            "diesel_mysql_pool",
            "diesel_postgres_pool",
            "diesel_sqlite_pool",
            "memcache_pool",
            "postgres_pool",
            "sqlite_pool",
        ],
        always: None,
    },
    Crate { name: "diesel", version: "2", features: &["mysql", "postgres", "sqlite"], always: None },
    Crate { name: "sqlx", version: "0.8", features: &["mysql", "postgres", "sqlite"], always: Some("runtime-tokio") },
    Crate { name: "sqlx", version: "0.9", features: &["mysql", "postgres", "sqlite"], always: Some("runtime-tokio") },
    Crate {
        name: "sea-orm",
        version: "1",
        features: &["sqlx-mysql", "sqlx-postgres", "sqlx-sqlite"],
        always: Some("runtime-tokio-rustls"),
    },
    Crate {
        name: "sea-orm",
        version: "2",
        features: &["sqlx-mysql", "sqlx-postgres", "sqlx-sqlite"],
        always: Some("runtime-tokio-rustls"),
    },
    Crate { name: "rusqlite", version: "0.39", features: &[], always: None },
    Crate { name: "rusqlite", version: ">=0.40", features: &[], always: None },
];

/// The builds of session-rocket: the title of the column, and what follows the path in the dependency's line.
const BUILDS: [(&str, &str); 2] = [("default features (`sqlite`)", ""), ("without `sqlite`", WITHOUT_SQLITE)];

/// A crate that resolves with all features also resolves with fewer, so most rows take one resolution.
const ALL_FEATURES: &str = r#", features = ["memcached", "mysql", "postgres", "redis"]"#;

const WITHOUT_SQLITE: &str = r#", default-features = false, features = ["memcached", "mysql", "postgres", "redis"]"#;

const PAGE: &str = "docs/stores.md";
const BEGIN: &str = "<!-- The command `cargo xtask database-crates` writes this table. -->";
const END: &str = "<!-- End of the table. -->";

struct Crate {
    name: &'static str,
    version: &'static str,
    features: &'static [&'static str],
    always: Option<&'static str>,
}

/// Writes the table into the docs. With `check`, compares it with the docs instead.
///
/// An outdated table is only a warning, because a release of another project causes it. SQLite in the lock file of a build
/// without the feature `sqlite` is a failure, because only this project can cause it.
pub fn database_crates(check: bool) -> Result {
    println!("==> resolving lock files with {} database crates", rows().count());
    let folder = Folder::new()?;
    folder.check_that_the_lock_file_has_no_sqlite()?;
    let table = folder.table()?;
    let path = root().join(PAGE);
    let page = fs::read_to_string(&path).map_err(|error| format!("cannot read {PAGE}: {error}"))?;
    let (before, rest) = page.split_once(BEGIN).ok_or_else(|| format!("missing line `{BEGIN}` in {PAGE}"))?;
    let (current, after) = rest.split_once(END).ok_or_else(|| format!("missing line `{END}` in {PAGE}"))?;
    if current.trim() == table.trim() {
        println!("==> the table of database crates in {PAGE} is up to date");
        return Ok(());
    }
    if check {
        println!("warning: the table of database crates in {PAGE} is out of date; these rows differ:");
        table.lines().filter(|line| !current.contains(line)).for_each(|line| println!("{line}"));
        println!("warning: run `cargo xtask database-crates` to update the table, and check the text around it");
        return Ok(());
    }
    fs::write(&path, format!("{before}{BEGIN}\n\n{table}\n{END}{after}"))
        .map_err(|error| format!("cannot write {PAGE}: {error}"))?;
    println!("==> wrote the table of database crates in {PAGE}");
    Ok(())
}

/// Each crate with each of its features, or without features if it has none.
fn rows() -> impl Iterator<Item = (&'static Crate, Option<&'static str>)> {
    CRATES.iter().flat_map(|krate| {
        let none = krate.features.is_empty().then_some(None);
        krate.features.iter().copied().map(Some).chain(none).map(move |feature| (krate, feature))
    })
}

impl Crate {
    /// The dependency's line in a manifest.
    fn dependency(&self, feature: Option<&str>) -> String {
        let features: Vec<_> = feature.into_iter().chain(self.always).map(|name| format!("\"{name}\"")).collect();
        format!("{} = {{ version = \"{}\", features = [{}] }}\n", self.name, self.version, features.join(", "))
    }
}

fn session_rocket(build: &str) -> String {
    format!("session-rocket = {{ path = '{}'{build} }}\n", root().join("session-rocket").display())
}

/// The folder of the temporary package, removed on drop.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let folder = Self(std::env::temp_dir().join(format!("session-rocket-crates-{}", std::process::id())));
        folder.write(Path::new("src/lib.rs"), "")?;
        Ok(folder)
    }

    fn write(&self, name: &Path, content: &str) -> Result {
        let path = self.0.join(name);
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, content));
        written.map_err(|error| format!("cannot write {}: {error}", path.display()))
    }

    fn table(&self) -> Result<String> {
        let titles = BUILDS.map(|(title, _)| title).join(" | ");
        let mut lines =
            vec![format!("| crate | feature | {titles} |"), format!("|---|---|{}", "---|".repeat(BUILDS.len()))];
        for (krate, feature) in rows() {
            let feature_shown = feature.map_or_else(|| "–".to_owned(), |feature| format!("`{feature}`"));
            let mut cells = vec![format!("`{}` {}", krate.name, krate.version), feature_shown];
            let resolves = |build| self.resolve(&(session_rocket(build) + &krate.dependency(feature)));
            let with_all = resolves(ALL_FEATURES)?.is_some();
            for (_, build) in BUILDS {
                cells.push(if with_all || resolves(build)?.is_some() { "yes" } else { "**no**" }.to_owned());
            }
            lines.push(format!("| {} |", cells.join(" | ")));
        }
        Ok(lines.join("\n") + "\n")
    }

    fn check_that_the_lock_file_has_no_sqlite(&self) -> Result {
        let lock = self.resolve(&session_rocket(WITHOUT_SQLITE))?.ok_or("cargo cannot resolve session-rocket alone")?;
        if !lock.contains("name = \"libsqlite3-sys\"") {
            return Ok(());
        }
        Err("session-rocket without its feature `sqlite` has `libsqlite3-sys` in its lock file, so applications with another \
             SQLite cannot use it: disable the feature of a dependency that refers to SQLite, such as `migrate` of sqlx"
            .to_owned())
    }

    /// Resolves the lock file. Returns `None` if two crates link the same library. Retries other failures once, because the
    /// registry may have caused them.
    fn resolve(&self, dependencies: &str) -> Result<Option<String>> {
        let package = "[package]\nname = \"temporary\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n";
        self.write(Path::new("Cargo.toml"), &format!("{package}\n[dependencies]\n{dependencies}"))?;
        let lock = self.0.join("Cargo.lock");
        let mut failure = String::new();
        for _ in 0..2 {
            // The lock file may be missing.
            let _ = fs::remove_file(&lock);
            let mut command = Command::new(cargo_path());
            command.args(["generate-lockfile", "--quiet"]).current_dir(&self.0).stdin(Stdio::null());
            let output = command.output().map_err(|error| format!("cannot run cargo: {error}"))?;
            if output.status.success() {
                let lock = fs::read_to_string(&lock).map_err(|error| format!("cannot read a lock file: {error}"))?;
                return Ok(Some(lock));
            }
            failure = String::from_utf8_lossy(&output.stderr).into_owned();
            if failure.contains("links to the native library") {
                return Ok(None);
            }
        }
        Err(format!("cargo cannot resolve these dependencies:\n{dependencies}{failure}"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // If this fails, the system cleans its folder of temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}
