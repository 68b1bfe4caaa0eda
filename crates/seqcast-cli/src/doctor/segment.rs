//! Findings about one segment.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;

use seqcast::inspect::{Inspector, Listed, MustReader, Namespaces, OpenBy, Processes, Seen};
use seqcast::{Cause, Error, Start, Stats};

use super::{Cure, Finding};
use crate::output::printable;
use crate::processes::State;
use crate::units::count_of;

pub fn findings(listed: &Listed) -> Vec<Finding> {
    let (name, file) = (&listed.name, &listed.file);
    let mut findings: Vec<Finding> = mode(name, file.mode()).into_iter().chain(links(name, file.nlink())).collect();
    match &listed.opened {
        Ok(inspector) => findings.extend(inside(name, inspector)),
        Err(error) => findings.push(unreadable(name, error)),
    }
    findings
}

fn mode(name: &str, mode: u32) -> Option<Finding> {
    let mode = mode & 0o7777;
    let path = format!("/dev/shm{name}");
    let (what, remedy) = match mode {
        _ if mode & 0o002 != 0 => ("any user may write to it and tear or forge events", format!("chmod o-rwx {path}")),
        _ if mode & 0o004 != 0 => ("any user may read it, including payloads", format!("chmod o-rwx {path}")),
        _ if mode & 0o600 != 0o600 => {
            ("its owner may not read and write it, so no worker can open it", format!("chmod u+rw {path}"))
        }
        _ if mode & !0o777 != 0 => ("it has mode bits that no segment has", format!("chmod 0600 {path}")),
        _ => return None,
    };
    Some(Finding::trouble("mode", name, format!("mode {mode:04o}: {what}"), remedy))
}

/// A second name gives access to processes that cannot see the first, and outlives it.
fn links(name: &str, links: u64) -> Option<Finding> {
    (links > 1).then(|| {
        Finding::trouble(
            "linked",
            name,
            format!("its file has {links} names, so workers can no longer join it"),
            format!("find the others with: find /dev/shm -samefile /dev/shm{name}; and remove the unknown ones"),
        )
    })
}

fn unreadable(name: &str, error: &Error) -> Finding {
    let rm = format!("seqcast rm {name} when no process uses it any more, or seqcast doctor --fix");
    let (remedy, cure) = match error.cause() {
        // As the error says: not by force, because processes that use it may see another boot id.
        Cause::OtherBoot { .. } => {
            let remedy = format!(
                "seqcast doctor --fix, or seqcast rm {name} without --force: both remove it only if no process uses it"
            );
            (remedy, Cure::Unlink)
        }
        Cause::Unfinished { .. } => (rm, Cure::Unlink),
        Cause::Layout { .. } | Cause::Fingerprint { .. } => {
            (format!("inspect it with the seqcast version of its workers; {rm}"), Cure::Unlink)
        }
        Cause::Busy { .. } => ("let its creator continue, or end it".to_owned(), Cure::None),
        _ => {
            let remedy = format!(
                "stop its workers, keep a copy of /dev/shm{name} to find out what wrote to it, then seqcast rm {name}"
            );
            (remedy, Cure::None)
        }
    };
    Finding::trouble(error.code(), name, error.to_string(), remedy).with_cure(cure)
}

fn inside(name: &str, inspector: &Inspector) -> Vec<Finding> {
    let stats = match inspector.stats().and_then(|stats| inspector.claims().map(|_| stats)) {
        Ok(stats) => stats,
        Err(error) => return vec![unreadable(name, &error)],
    };
    let processes = inspector.processes();
    let mut findings = Vec::new();
    findings.extend(ring(name, inspector));
    findings.extend(dead_seats(name, &stats));
    findings.extend(crowded_table(name, &stats));
    findings.extend(unlocked(name, &stats));
    findings.extend(unused(name, &stats, &processes));
    findings.extend(laggards(name, &stats));
    findings.extend(must_readers(name, inspector));
    findings.extend(kept_by_children(name, &stats, &processes));
    findings.extend(read_locks(name, &stats, &processes));
    findings.extend(strays(name, &processes));
    findings.extend(other_namespaces(name, &processes));
    match inspector.relay() {
        Ok(relay) => findings.extend(super::relay::findings(name, &relay, stats.sizes.capacity)),
        Err(error) => findings.push(unreadable(name, &error)),
    }
    if processes.hidden > 0 {
        findings.push(Finding::note(
            "hidden_processes",
            name,
            format!("{} processes could not be examined and may also have it open", processes.hidden),
            "run seqcast doctor as root for a complete answer",
        ));
    }
    findings
}

/// Reads the whole ring, and looks for events that no worker has written.
fn ring(name: &str, inspector: &Inspector) -> Option<Finding> {
    let end = inspector.next_id();
    let look = || -> seqcast::Result<Option<(u64, u64)>> {
        let mut tail = inspector.tail(Start::Oldest)?.patience(std::time::Duration::ZERO);
        let mut unreadable = None;
        while tail.next_id() < end {
            match tail.try_next()? {
                Some(Seen::Unreadable { id, .. }) => {
                    unreadable = Some(unreadable.map_or((id, 1), |(first, count)| (first, count + 1)));
                }
                Some(_) => {}
                None => break,
            }
        }
        Ok(unreadable)
    };
    match look() {
        Ok(None) => None,
        Ok(Some((first, count))) => Some(Finding::trouble(
            "corrupt",
            name,
            format!("{count} events were not written by a worker; the first has id {first}"),
            format!("find the other process that writes to /dev/shm{name}; workers skip such events and count them"),
        )),
        Err(error) => Some(unreadable(name, &error)),
    }
}

fn dead_seats(name: &str, stats: &Stats) -> Option<Finding> {
    let dead: Vec<String> = stats
        .workers
        .iter()
        .filter(|worker| !worker.alive)
        .map(|worker| match worker.label.as_str() {
            "" => format!("{} (pid {})", worker.seat, worker.pid),
            label => format!("{} (pid {} {:?})", worker.seat, worker.pid, printable(label)),
        })
        .collect();
    (!dead.is_empty()).then(|| {
        Finding::trouble(
            "dead_seats",
            name,
            format!("the holder of {} died without leaving: {}", count_of(dead.len(), "seat"), dead.join(", ")),
            "none is needed: the next worker that joins takes one over; seqcast doctor --fix frees them now. Find out \
             why the workers died",
        )
        .with_cure(Cure::AdoptDead)
    })
}

/// Returns a finding if the table of retained events has no free place.
fn crowded_table(name: &str, stats: &Stats) -> Option<Finding> {
    let refused: u64 = stats.workers.iter().fold(0, |sum, worker| sum.wrapping_add(worker.retained_full));
    if refused > 0 {
        return Some(Finding::trouble(
            "retained_full",
            name,
            format!("{refused} events were not posted, as there was no place to retain them"),
            "create the segment with more .retained(), clear what is not needed, or give it a ttl",
        ));
    }
    (stats.sizes.retained_keys > 0 && stats.retained >= stats.sizes.retained_keys).then(|| {
        Finding::note(
            "retained_full",
            name,
            format!(
                "all {} keys of retained events are in use: a post for another key is refused",
                stats.sizes.retained_keys
            ),
            "create the segment with more .retained(), clear what is not needed, or give it a ttl",
        )
    })
}

/// Live workers that have lost the lock of their seat.
fn unlocked(name: &str, stats: &Stats) -> Vec<Finding> {
    let unlocked = stats.workers.iter().filter(|worker| worker.unlocked);
    unlocked
        .map(|worker| {
            Finding::trouble(
                "unlocked",
                name,
                format!(
                    "the worker of seat {} (pid {} {:?}) lives, but the lock of its seat is lost: something in its \
                     process closed or unmapped what it does not own. Processes of this pid namespace leave the seat \
                     to it; processes of other namespaces may take it",
                    worker.seat, worker.pid, worker.label
                ),
                "restart that process, and let it close descriptors before it opens the bus",
            )
        })
        .collect()
}

/// Live workers that do not keep up.
fn laggards(name: &str, stats: &Stats) -> Vec<Finding> {
    let mut findings = Vec::new();
    for worker in &stats.workers {
        let left = stats.sizes.capacity.saturating_sub(worker.lag);
        let label = printable(&worker.label);
        let who = format!("seat {} (pid {} {label:?}), {} behind", worker.seat, worker.pid, worker.lag);
        match State::of(worker, stats.sizes.capacity) {
            State::Stopped => findings.push(Finding::trouble(
                "stopped",
                name,
                format!("the worker of {who}, was stopped by a signal or a debugger"),
                format!(
                    "continue it (kill -CONT {}) or end it; after {left} more events it begins to miss events",
                    worker.pid
                ),
            )),
            State::Slow => findings.push(Finding::note(
                "slow",
                name,
                format!("the worker of {who}, does not keep up"),
                format!(
                    "let it poll more often, or create the segment with more .capacity(); after {left} more events it \
                         begins to miss events"
                ),
            )),
            State::Dead | State::Unlocked | State::Ok => {}
        }
    }
    findings
}

/// Readers that hold posts up, or have held them up, and words that say so of no reader.
fn must_readers(name: &str, inspector: &Inspector) -> Vec<Finding> {
    let finding = |reader: MustReader| {
        let MustReader { seat, pid, unread, patience, .. } = reader;
        let who = format!("seat {seat} (pid {pid} {:?})", printable(&reader.label));
        if let Some(fault) = reader.fault {
            return Some(Finding::trouble(
                "must_read",
                name,
                format!("posts are told to wait for {who}, and {fault}: no worker has written that"),
                format!(
                    "find the other process that writes to /dev/shm{name}; each post waits for at most {patience:?}"
                ),
            ));
        }
        if reader.holds_up {
            return Some(Finding::trouble(
                "held_up",
                name,
                format!("posts wait for {who}, which must read and has {unread} ids unread"),
                format!(
                    "let it poll more often, continue it or end it, or create the segment with more .capacity(); each \
                     post waits for at most {patience:?}"
                ),
            ));
        }
        (reader.alive && reader.is_cut_off).then(|| {
            Finding::note(
                "cut_off",
                name,
                format!("{who} must read, did not within {patience:?}, and is not waited for until it reads on"),
                "let it poll more often, or raise must_read or .capacity(); what it misses is reported to it",
            )
        })
    };
    match inspector.must_readers() {
        Ok(readers) => readers.into_iter().filter_map(finding).collect(),
        Err(error) => vec![unreadable(name, &error)],
    }
}

fn unused(name: &str, stats: &Stats, processes: &Processes) -> Option<Finding> {
    let used = stats.workers.iter().any(|worker| worker.alive) || processes.holders.iter().any(|holder| holder.writes);
    (!used).then(|| {
        Finding::trouble(
            "stale",
            name,
            "no worker lives, and no visible process can write to it",
            format!("seqcast rm {name}, or seqcast doctor --fix, which first proves that no process has it open"),
        )
        .with_cure(Cure::Unlink)
    })
}

/// If another thread forks a child at the moment its parent joins, the child has the parent's lock as well. The same
/// holds for any child where the system keeps locks by descriptors only. If such a child outlives the parent, no
/// process can take over the seat.
fn kept_by_children(name: &str, stats: &Stats, processes: &Processes) -> Vec<Finding> {
    let mut findings = Vec::new();
    for worker in stats.workers.iter().filter(|worker| worker.alive) {
        let holders: Vec<_> = processes.holders.iter().filter(|holder| holder.seats.contains(&worker.seat)).collect();
        if holders.is_empty() || holders.iter().any(|holder| holder.own_pid == worker.pid) {
            continue;
        }
        let pids: Vec<String> = holders.iter().map(|holder| holder.pid.to_string()).collect();
        findings.push(Finding::trouble(
            "kept_seat",
            name,
            format!(
                "the worker of seat {} (pid {}) is gone, but a child that it forked (pid {}) keeps its seat",
                worker.seat,
                worker.pid,
                pids.join(", ")
            ),
            "end that process; let workers fork before they join, or let their children exec",
        ));
    }
    findings
}

/// Read access is enough for a read lock, and a worker cannot take a seat with a read lock.
fn read_locks(name: &str, stats: &Stats, processes: &Processes) -> Vec<Finding> {
    let lockers = processes.holders.iter().filter(|holder| !holder.read_locks.is_empty());
    let finding = |holder: &OpenBy| {
        Finding::trouble(
            "read_locks",
            name,
            format!(
                "process {} holds read locks on {} of {}, so no process can join with them",
                holder.pid,
                count_of(holder.read_locks.len(), "seat"),
                stats.sizes.seats,
            ),
            format!(
                "end that process, which is not a worker, and remove read access from its user: chmod go-r \
                 /dev/shm{name}"
            ),
        )
    };
    lockers.map(finding).collect()
}

fn strays(name: &str, processes: &Processes) -> Option<Finding> {
    let pids: Vec<String> = processes
        .strays
        .iter()
        .map(|stray| {
            let is_elsewhere = stray.namespaces.mnt.is_some() && stray.namespaces.mnt != processes.own.mnt;
            if is_elsewhere { format!("{} (in another mount namespace)", stray.pid) } else { stray.pid.to_string() }
        })
        .collect();
    (!pids.is_empty()).then(|| {
        Finding::trouble(
            "split",
            name,
            format!(
                "processes have another segment of this name open, an older one or one of another /dev/shm, and \
                 exchange no events with this one: pid {}",
                pids.join(", ")
            ),
            "restart them; containers must share one /dev/shm: docker run --ipc=shareable and --ipc=container:NAME, or \
             a common volume at /dev/shm (Kubernetes: an emptyDir with medium: Memory)",
        )
    })
}

fn other_namespaces(name: &str, processes: &Processes) -> Option<Finding> {
    let others = |pick: fn(&Namespaces) -> Option<u64>| {
        processes
            .holders
            .iter()
            .filter(|holder| pick(&holder.namespaces).is_some() && pick(&holder.namespaces) != pick(&processes.own))
            .map(|holder| holder.pid)
            .collect::<BTreeSet<u32>>()
    };
    let kinds = [("pid", others(|of| of.pid)), ("ipc", others(|of| of.ipc)), ("mount", others(|of| of.mnt))];
    let all: BTreeSet<u32> = kinds.iter().flat_map(|(_, pids)| pids).copied().collect();
    if all.is_empty() {
        return None;
    }
    let kinds: Vec<&str> = kinds.iter().filter(|(_, pids)| !pids.is_empty()).map(|(kind, _)| *kind).collect();
    let pids: Vec<String> = all.iter().map(u32::to_string).collect();
    Some(Finding::note(
        "namespaces",
        name,
        format!(
            "processes of other {} namespaces share it: pid {} as seen from here; the process ids that \
             seqcast shows for their seats belong to their own namespaces",
            kinds.join(", "),
            pids.join(", ")
        ),
        "none is needed: locks, not process ids, tell which workers live",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn modes_that_no_segment_should_have_are_told_with_the_cure() {
        let bus = fixture::bus("modes");
        let name = bus.name();
        for (bits, what, cure) in [
            (0o666, "any user may write to it", "chmod o-rwx"),
            (0o604, "any user may read it", "chmod o-rwx"),
            (0o400, "its owner may not read and write it", "chmod u+rw"),
            (0o200, "its owner may not read and write it", "chmod u+rw"),
            (0o1600, "it has mode bits that no segment has", "chmod 0600"),
        ] {
            let found = mode(name, 0o100_000 | bits).unwrap();
            assert!(found.what.starts_with(&format!("mode {bits:04o}: {what}")), "{}", found.what);
            assert_eq!(found.remedy, format!("{cure} /dev/shm{name}"));
        }
        assert!(links(name, 1).is_none());
        assert!(links(name, 2).unwrap().what.starts_with("its file has 2 names"));
        for bits in [0o600, 0o660, 0o670] {
            assert!(mode(name, 0o100_000 | bits).is_none(), "{bits:o}");
        }
    }
}
