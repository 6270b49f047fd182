//! The processes that a program of the tests started, and their end.
//!
//! A browser, or a database server, is a family of processes. Some leave their parent, so they are also known by a mark: a directory whose
//! name is in the environment or in the arguments of each. Read from `/proc`; elsewhere than on Linux nothing is
//! found, and its own shutdown has to do.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// One process of this machine.
struct Process {
    id: u32,
    parent: u32,
    marked: bool,
}

/// The processes with the mark, and all descendants of theirs and of `root`, without `root` itself.
pub(crate) fn family(root: u32, mark: &Path) -> BTreeSet<u32> {
    let all = running(mark);
    let mut family: BTreeSet<u32> = all.iter().filter(|process| process.marked).map(|process| process.id).collect();
    family.insert(root);
    loop {
        let before = family.len();
        family.extend(all.iter().filter(|process| family.contains(&process.parent)).map(|p| p.id).collect::<Vec<_>>());
        if family.len() == before {
            family.remove(&root);
            return family;
        }
    }
}

/// Kills the family and whatever else has the mark, and waits until they are gone.
pub(crate) fn end(family: &BTreeSet<u32>, mark: &Path) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let mut rest = running(mark);
        rest.retain(|process| process.marked || family.contains(&process.id));
        if rest.is_empty() {
            return;
        }
        if Instant::now() > deadline {
            let ids: Vec<u32> = rest.iter().map(|process| process.id).collect();
            eprintln!("processes that do not end: {ids:?}");
            return;
        }
        rest.iter().for_each(|process| send(process.id, Signal::KILL));
        thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a signal to a process, which may have ended since.
pub(crate) fn send(id: u32, signal: Signal) {
    if let Some(id) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        let _ = kill_process(id, signal);
    }
}

/// All processes but those that ended and wait for their parent to hear of it.
fn running(mark: &Path) -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter_map(|id| process(id, mark)).collect()
}

/// One of them, unless it is gone.
fn process(id: u32, mark: &Path) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // After the name, which is in parentheses and may be anything: the state and the parent.
    let mut rest = stat.rsplit_once(") ")?.1.split(' ');
    let (state, parent) = (rest.next()?, rest.next()?.parse().ok()?);
    if matches!(state, "Z" | "X") {
        return None;
    }
    let has_mark = |file: &str| {
        let content = fs::read(format!("/proc/{id}/{file}")).unwrap_or_default();
        content.windows(mark.as_os_str().len()).any(|part| part == mark.as_os_str().as_bytes())
    };
    Some(Process { id, parent, marked: has_mark("environ") || has_mark("cmdline") })
}
