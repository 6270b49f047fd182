//! Finds and ends all processes of a program that a test started.
//!
//! A browser or a database server consists of several processes, and some of them leave their parent. So each of them
//! also has a mark: the path of a directory in its environment or arguments. This module reads `/proc`. On systems
//! other than Linux it finds no process, and the program has to shut down by itself.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A process of this machine.
struct Process {
    id: u32,
    parent: u32,
    marked: bool,
}

/// Returns the processes with the mark, their descendants, and the descendants of `root`, without `root` itself.
pub(crate) fn family(root: u32, mark: &Path) -> BTreeSet<u32> {
    let all = running_processes(mark);
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

/// Kills the family and all processes with the mark, and waits until they have ended.
pub(crate) fn kill_and_wait(family: &BTreeSet<u32>, mark: &Path) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let mut remaining = running_processes(mark);
        remaining.retain(|process| process.marked || family.contains(&process.id));
        if remaining.is_empty() {
            return;
        }
        if Instant::now() > deadline {
            let ids: Vec<u32> = remaining.iter().map(|process| process.id).collect();
            eprintln!("these processes do not end: {ids:?}");
            return;
        }
        remaining.iter().for_each(|process| send_signal(process.id, Signal::KILL));
        thread::sleep(Duration::from_millis(5));
    }
}

/// Suspends a process with SIGSTOP, and waits until each of its threads has stopped.
///
/// The signal alone does not suffice: on a busy machine, a thread can still serve a request after it was sent.
pub fn suspend(id: u32) {
    send_signal(id, Signal::STOP);
    while has_running_thread(id) {
        thread::yield_now();
    }
}

/// Resumes a process after [`suspend`].
pub fn resume(id: u32) {
    send_signal(id, Signal::CONT);
}

fn has_running_thread(id: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{id}/task")) else { return false };
    let stats = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("stat")).ok());
    stats.into_iter().any(|stat| !matches!(state(&stat), Some("T" | "t" | "Z" | "X")))
}

/// Kills a process with SIGKILL.
pub(crate) fn kill(id: u32) {
    send_signal(id, Signal::KILL);
}

/// Sends a signal to a process. Does nothing if the process has ended.
fn send_signal(id: u32, signal: Signal) {
    if let Some(id) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        let _ = kill_process(id, signal);
    }
}

/// Returns all processes except zombies.
fn running_processes(mark: &Path) -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter_map(|id| read_process(id, mark)).collect()
}

/// Reads one process. Returns `None` if it has ended.
fn read_process(id: u32, mark: &Path) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let parent = fields(&stat).nth(1)?.parse().ok()?;
    if matches!(state(&stat), Some("Z" | "X")) {
        return None;
    }
    let has_mark = |file: &str| {
        let content = fs::read(format!("/proc/{id}/{file}")).unwrap_or_default();
        content.windows(mark.as_os_str().len()).any(|part| part == mark.as_os_str().as_bytes())
    };
    Some(Process { id, parent, marked: has_mark("environ") || has_mark("cmdline") })
}

/// Returns the state letter in a `stat` file.
fn state(stat: &str) -> Option<&str> {
    fields(stat).next()
}

/// Returns the fields of a `stat` file after the name: the state, the parent, and further fields.
///
/// The name is in parentheses and can contain any character.
fn fields(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split(' ')
}
