//! Processor time and memory of processes, from `/proc`.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

/// Linux reports processor time in hundredths of a second on all architectures.
const TICK: Duration = Duration::from_millis(10);
const PAGE: u64 = 4096;

/// The user and system time of a process and all its descendants.
pub fn time(root: u32) -> Duration {
    let all = all();
    let mut family = BTreeSet::from([root]);
    loop {
        let before = family.len();
        family.extend(all.iter().filter(|process| family.contains(&process.parent)).map(|p| p.id).collect::<Vec<_>>());
        if family.len() == before {
            break;
        }
    }
    let ticks: u32 = all.iter().filter(|process| family.contains(&process.id)).map(|process| process.ticks).sum();
    TICK * ticks
}

/// The resident memory of a process, in bytes.
///
/// # Panics
/// If the process does not exist.
pub fn memory(process: u32) -> u64 {
    let pages = fs::read_to_string(format!("/proc/{process}/statm")).expect("a running process");
    let resident =
        pages.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("a number of resident pages");
    resident * PAGE
}

struct Process {
    id: u32,
    parent: u32,
    ticks: u32,
}

fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").expect("cannot read /proc");
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter_map(process).collect()
}

/// Returns `None` if the process has ended.
fn process(id: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The fields from the third on. The second is the name in parentheses, which can contain any character.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u32>().ok();
    Some(Process { id, parent: number(4)?, ticks: number(14)? + number(15)? })
}
