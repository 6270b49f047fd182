//! What processes cost: processor time and memory, from `/proc`.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

/// Linux counts processor time in hundredths of a second, on all its machines.
const TICK: Duration = Duration::from_millis(10);
const PAGE: u64 = 4096;

/// The processor time of a process and of all that descend from it, in the system and outside.
pub fn used(root: u32) -> Duration {
    let all = running();
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

/// The memory that a process has in use, in bytes.
///
/// # Panics
/// When there is no such process.
pub fn memory(process: u32) -> u64 {
    let pages = fs::read_to_string(format!("/proc/{process}/statm")).expect("a process that runs");
    let resident = pages.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("its resident pages");
    resident * PAGE
}

struct Process {
    id: u32,
    parent: u32,
    ticks: u32,
}

fn running() -> Vec<Process> {
    let entries = fs::read_dir("/proc").expect("a system with /proc");
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter_map(process).collect()
}

/// One of them, unless it is gone.
fn process(id: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // After the name, which is in parentheses and may be anything, beginning with the third field.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u32>().ok();
    Some(Process { id, parent: number(4)?, ticks: number(14)? + number(15)? })
}
