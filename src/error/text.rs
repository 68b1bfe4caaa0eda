//! The texts of errors: what happened, with the values, and what to do.

use std::fmt;
use std::time::Duration;

use crate::error::{Cause, Difference, Holder, SizeLimit};
use crate::os::text::printable;

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Name { name, rule } => write!(f, "{:?} cannot name a segment: {rule}", printable(name)),
            Cause::Option { option, value, rule } => write!(f, "option {option} = {value}: {rule}"),
            Cause::Topic { part, len, max } => {
                write!(f, "the {part} is {len} bytes long: give it 1 to {max} bytes")
            }
            Cause::LibrarySource => {
                write!(f, "the source \"seqcast\" is the library's own: use another source")
            }
            Cause::TypedTopic { type_name, topic, expected } => write!(
                f,
                "a value of type {type_name} was posted under {topic}, but its topic is {expected}: post it under its \
                 own topic, or post bytes"
            ),
            Cause::NotFound { name } => {
                write!(f, "no segment {name}: create it first, or use open_or_create")
            }
            Cause::Exists { name } => {
                write!(f, "segment {name} exists: open it, use open_or_create, or unlink it first")
            }
            Cause::Foreign { name, found } => write!(
                f,
                "{name} is not a seqcast segment ({found}): choose another name, or remove the file if it is \
                 not needed"
            ),
            Cause::Unfinished { name } => write!(
                f,
                "segment {name} is unfinished: its creator died or is still at work; open_or_create finishes it"
            ),
            Cause::Busy { name, waited: Duration::ZERO } => {
                write!(f, "another process is creating segment {name}: end that process if it is stopped")
            }
            Cause::Busy { name, waited } => write!(
                f,
                "another process has been creating segment {name} for {waited:?}: try again, or end that process \
                 if it is stopped"
            ),
            Cause::Layout { name, found, expected } => write!(
                f,
                "segment {name} has layout version {found}, this seqcast uses {expected}: give the new release a \
                 segment name of its own, or unlink the old segment when its workers are gone"
            ),
            Cause::Fingerprint { name, found, expected } => write!(
                f,
                "segment {name} was created by another build (fingerprint {found:#018x}, ours {expected:#018x}; the \
                 memory layout differs): use another name, or build all workers for the same target and from the same \
                 version"
            ),
            Cause::OtherBoot { name, found, expected } => write!(
                f,
                "segment {name} was created under boot id {found:032x}, this process sees {expected:032x}, and no \
                 worker of this kernel has a seat in it: if a container with another boot id uses it, let a worker \
                 join there first; if it is from before the last boot, remove it with seqcast doctor --fix or \
                 inspect::unlink_unheld, which remove it only if no process has it open"
            ),
            Cause::Owner { name, found, accepted } => write!(
                f,
                "segment {name} belongs to user {found}, accepted users are {accepted:?}: create it with .owner(uid, \
                 gid) of the workers' user, or accept that owner with the same option"
            ),
            Cause::Mode { name, found, accepted } => write!(
                f,
                "segment {name} has mode {found:04o}, the widest accepted is {accepted:04o}: open it with \
                 .mode({found:#o}) if that is intended, or chmod it"
            ),
            Cause::OptionsDiffer { name, differences } => write!(
                f,
                "segment {name} exists with options other than those set: {}; open it without .strict(true) to \
                 accept them, use another name, or unlink it when its workers are gone",
                DifferenceList(differences)
            ),
            Cause::Truncated { name, size, expected } => write!(
                f,
                "segment {name} has {size} bytes instead of {expected}: it was truncated; unlink it and create it \
                 again"
            ),
            Cause::Denied { name, uid } => write!(
                f,
                "user {uid} may not open segment {name}: join before dropping privileges, or create it with \
                 .owner(uid, gid) or a wider .mode()"
            ),
            Cause::NoSpace { name, size, free } => write!(
                f,
                "segment {name} needs {size} bytes, but shared memory has {free} free: lower capacity, block_size or \
                 claims, or enlarge /dev/shm (docker: --shm-size)"
            ),
            Cause::FileLimit { name, size, limit } => write!(
                f,
                "segment {name} needs {size} bytes, but this process may create files of at most {limit} bytes \
                 (RLIMIT_FSIZE): raise it (ulimit -f, systemd: LimitFSIZE=), or lower capacity, block_size or claims"
            ),
            Cause::MemoryLimit { name, size, left, limit, file } => write!(
                f,
                "segment {name} needs {size} bytes, but the control group of this process has {left} left of the \
                 {limit} in {}: raise that limit (docker: --memory, systemd: MemoryMax=), or lower capacity, \
                 block_size or claims",
                file.display(),
            ),
            Cause::Interrupted { name, times, waited } => write!(
                f,
                "signals interrupted the creation of segment {name} {times} times within {waited:?}: block them \
                 while the bus is created, or find their sender"
            ),
            Cause::NoSharedMemory { name, found } => write!(
                f,
                "segment {name} cannot exist here: {found}; mount a tmpfs there (mount -t tmpfs -o mode=1777 tmpfs \
                 /dev/shm); if this process calls chroot, open and join the bus before that, or bind the host's \
                 /dev/shm into the new root"
            ),
            Cause::ReadOnly { name } => write!(
                f,
                "/dev/shm is mounted read-only, so segment {name} can be inspected, but not created, joined or \
                 removed: mount -o remount,rw /dev/shm (docker --read-only: add --tmpfs /dev/shm, or --ipc=shareable)"
            ),
            Cause::NoInodes { name, inodes } => write!(
                f,
                "segment {name} cannot be created: /dev/shm has room for {inodes} files and all are in use; \
                 remove unused files, or mount -o remount,nr_inodes=NUMBER /dev/shm"
            ),
            Cause::Linked { name, links } => write!(
                f,
                "the file of segment {name} has {links} names, and other processes may open it by the other names; \
                 unlink it and create it again (find /dev/shm -samefile /dev/shm{name} shows them)"
            ),
            Cause::Holes { name, size, allocated } => write!(
                f,
                "segment {name} has memory for only {allocated} of its {size} bytes, and a worker could die of SIGBUS \
                 when it touches the rest: holes were punched into it, or it was copied sparsely; unlink it and create \
                 it again"
            ),
            Cause::Replaced { name } => {
                write!(f, "the name {name} no longer leads to this segment: it was unlinked or created again")
            }
            Cause::NoSeat { name, seats, holders } => {
                write!(f, "all {seats} seats of segment {name} are held (")?;
                for (i, holder) in holders.iter().enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    write!(f, "{comma}{}: pid {}", holder.seat, holder.pid)?;
                    if !holder.label.is_empty() {
                        write!(f, " {:?}", printable(&holder.label))?;
                    }
                    if holder.unlocked {
                        write!(f, " unlocked")?;
                    }
                }
                write!(f, "): create it with more .seats()")?;
                match holders.iter().filter(|holder| holder.unlocked).count() {
                    0 => Ok(()),
                    unlocked => write!(
                        f,
                        "; {unlocked} of them {} by a process that lives but has lost its lock: restart the processes \
                         marked unlocked",
                        if unlocked == 1 { "is held" } else { "are held" }
                    ),
                }
            }
            Cause::Descriptor { name, why } => write!(
                f,
                "this process has closed the descriptor of segment {name}, or put another file on its number, and \
                 {why}: close descriptors (closefrom, daemonizing) before the bus is opened"
            ),
            Cause::Displaced { name, seat } => write!(
                f,
                "another process has taken seat {seat} of segment {name}, because the lock of this worker was \
                 lost: drop this worker and join again, and find the code that closes or unmaps what it does not own"
            ),
            Cause::Forked => {
                write!(f, "this handle was created before the fork: join again in the child, with bus.join()")
            }
            Cause::PayloadTooLarge { len, max, limit: SizeLimit::Ring } => write!(
                f,
                "the event has {len} bytes, but the limit is {max} (a quarter of the ring, or one block, or one large \
                 block): raise capacity, block_size or large, or post a reference to the data"
            ),
            Cause::PayloadTooLarge { len, max, limit: SizeLimit::Block } => write!(
                f,
                "the event has {len} bytes, but a reserved event must fit one block or one large block, of at most \
                 {max}: raise block_size or large, or post it instead"
            ),
            Cause::PayloadTooLarge { len, max, limit: SizeLimit::Retained } => write!(
                f,
                "the event has {len} bytes, but a retained one has at most {max}: raise retained_size (or capacity, of \
                 which a quarter is the most), or retain a reference to the data"
            ),
            Cause::RetainedFull { source, event, keys } => {
                let (source, event) = (printable(source), printable(event));
                write!(
                    f,
                    "there is no place to retain {source}/{event}: the segment has room for {keys} keys; clear what is \
                     not needed, give it a ttl, or create the segment with more .retained()"
                )
            }
            Cause::NotYet { id, next } => {
                write!(f, "cannot start at event id {id}: the next one to be posted is {next}")
            }
            Cause::OtherBus { name, position, found } => write!(
                f,
                "the saved position belongs to bus {position}, but segment {name} is bus {found}: it was created again \
                 since, and the unread events of the old one are gone; rebuild the state that depends on them, and \
                 start with Start::Oldest"
            ),
            Cause::TooLate { id } => write!(
                f,
                "reserved event id {id} was given up before its commit: commit within the readers' wait_max, or post"
            ),
            Cause::Payload { source, event, reason } => {
                let (source, event) = (printable(source), printable(event));
                write!(f, "the payload of {source}/{event} is not a valid value of its type: {reason}")
            }
            Cause::Archive { type_name, reason } => {
                write!(f, "a value of type {type_name} could not be archived: {reason}")
            }
            Cause::Corrupt { name, what } => write!(
                f,
                "segment {name} is corrupt: {what}; stop its workers, unlink it, and find what else writes to it"
            ),
            Cause::Exhausted { name, what } => {
                write!(f, "segment {name} has used up {what}: unlink it and create it again")
            }
            Cause::Left => write!(f, "this worker has left the bus: join again"),
            Cause::AlreadyConfigured { name } => write!(
                f,
                "this process is already configured, on segment {name}: use reconfigure, or join a separate worker"
            ),
            Cause::NotConfigured => write!(f, "this process has no worker yet: call configure first"),
            Cause::PollerPanicked { message } => {
                write!(f, "the poller's thread panicked: {message}; nothing is polled until another poller is started")
            }
            Cause::Unheard { name, why } => {
                write!(f, "posts do not ring the bell of segment {name}, which polls at an interval instead: {why}")
            }
            Cause::BellClosed { name } => write!(
                f,
                "this process has closed a descriptor of a bell of segment {name}, or put another file on its number: \
                 make a new bell, after descriptors are closed (closefrom, daemonizing)"
            ),
            Cause::TypedFormat { type_name, found, expected } => write!(
                f,
                "values of type {type_name} cannot be exchanged: typed values on this bus have rkyv format \
                 {found:#018x}, those of this program {expected:#018x}: build all programs on the bus with the \
                 same features of rkyv (unaligned, byte order, pointer width), or exchange bytes"
            ),
            Cause::ClaimLost { name, holder: None } => write!(
                f,
                "the claim in segment {name} has ended, and no other process holds its key: stop what it stands for, \
                 and claim the key again; renew earlier, or claim it for longer"
            ),
            Cause::ClaimLost { name, holder: Some(Holder { seat, pid, label, .. }) } => write!(
                f,
                "the claim in segment {name} has ended, and seat {seat} (pid {pid} {:?}) holds its key now: stop what \
                 it stands for; renew earlier, or claim it for longer",
                printable(label)
            ),
            Cause::Full { name, own: true, lag, .. } => write!(
                f,
                "there is no room in segment {name}: this worker must read, and is {lag} ids behind; poll before it \
                 posts more"
            ),
            Cause::Full { name, reader: Holder { seat, pid, label, .. }, lag, patience, .. } => write!(
                f,
                "there is no room in segment {name}: seat {seat} (pid {pid} {:?}) must read and is {lag} ids behind; \
                 post again later, or with post, which waits for it for at most {patience:?} unless it is called by a \
                 worker that must read itself; or raise capacity",
                printable(label)
            ),
            Cause::NoRelay { name } => write!(
                f,
                "segment {name} has no relay, so nothing can be sent to other hosts: start one with seqcast relay {}, \
                 or post to this host alone",
                name.trim_start_matches('/')
            ),
            Cause::RelayTaken { name, pid: 0 } => {
                write!(f, "another process is the relay of segment {name}: wait until it ends, or stop it")
            }
            Cause::RelayTaken { name, pid } => {
                write!(f, "process {pid} is the relay of segment {name}: wait until it ends, or stop it")
            }
            Cause::RelayFull { name, hosts } => write!(
                f,
                "the relay of segment {name} has no place for a further host: the segment has room for {hosts}; forget \
                 hosts that are gone, or create the segment with more .relay_hosts()"
            ),
            Cause::System { name, call, source } => {
                write!(f, "{call} failed for segment {name}: {source}")?;
                match source.raw_os_error() {
                    Some(libc::EMFILE) => f.write_str(": close some descriptors, or raise RLIMIT_NOFILE (ulimit -n)"),
                    Some(libc::ENFILE) => f.write_str(": the host's fs.file-max is reached"),
                    _ => Ok(()),
                }
            }
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, not {}", self.option, self.found, self.wanted)
    }
}

/// A list of differences, to be printed.
pub(crate) struct DifferenceList<'a>(pub(crate) &'a [Difference]);

impl fmt::Display for DifferenceList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, difference) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{difference}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn g10_names_and_labels_of_others_are_escaped() {
        let text = |cause: Cause| Error::from(cause).to_string();
        let hostile = "a\n\u{1b}[2J\u{202e}\u{ad}\u{34f}\u{9b}\"".to_owned();
        let escaped = r"a\n\u{1b}[2J\u{202e}\u{ad}\u{34f}\u{9b}";
        let holders = vec![Holder { seat: 0, pid: 7, label: hostile.clone(), unlocked: false }];
        let held = text(Cause::NoSeat { name: "/name".to_owned(), seats: 1, holders });
        assert!(held.contains(&format!("(0: pid 7 \"{escaped}\\\"\"): ")), "{held}");
        let payload = text(Cause::Payload { source: hostile.clone(), event: hostile.clone(), reason: "odd" });
        assert!(payload.starts_with(&format!("the payload of {escaped}\"/{escaped}\" is not")), "{payload}");
        let name = text(Cause::Name { name: hostile, rule: "it is bad" });
        assert!(name.starts_with(&format!("\"{escaped}\\\"\" cannot name")), "{name}");
    }

    #[test]
    fn the_holders_of_all_seats_are_listed() {
        let holder = |seat, pid, label: &str| Holder { seat, pid, label: label.to_owned(), unlocked: pid == 9 };
        let holders = vec![holder(0, 7, ""), holder(1, 8, "web"), holder(2, 9, "")];
        let text = Cause::NoSeat { name: "/name".to_owned(), seats: 3, holders }.to_string();
        assert!(text.contains("are held (0: pid 7, 1: pid 8 \"web\", 2: pid 9 unlocked): "), "{text}");
        assert!(text.contains("; 1 of them is held by a process that lives but has lost its lock: "), "{text}");
    }
}
