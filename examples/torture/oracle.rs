//! Judges the children's reports against the guarantees.
//!
//! The oracle has memory that no child can reach. For each recent id it keeps everything that any child reported, and
//! checks each new report against that, so the order in which the children's logs are read does not matter. An id's
//! file is closed when another id needs the place, or at the end of the round.

use std::collections::VecDeque;
use std::fmt::Write as _;

use seqcast::Bus;

use crate::content::{Kind, SHARED_TTL_NS, Tag};
use crate::log::{Entry, How, Odd, boottime_ns, map_shared};
use crate::round::{CLAIM_KEYS, Round, claim_ttl_ns};

/// The number of ids with open files.
const FILES: usize = 1 << 21;
/// The number of entries of each child in a trace.
const TRACED: usize = 400;
/// The number of violations that are described.
const MOST_TOLD: u64 = 12;

/// The facts about one id.
#[derive(Clone, Copy)]
struct File {
    id: u64,
    tag: Tag,
    /// For a long event: the next id when its first fragment was about to be posted.
    before: u64,
    /// The earliest start of a worker that passed the id and got nothing.
    passed_by: u64,
    /// The times at which such workers passed the id: the earliest and the latest.
    passed: (u64, u64),
    runs: u32,
    flags: u32,
}

const KNOWN: u32 = 1;
const VOID: u32 = 2;
/// A worker reported that it cannot run this unique event.
const EXCUSED: u32 = 4;
/// Reported as missed although it was not overwritten: correct only for the end of a long event.
const HEADLESS: u32 = 8;
const BEFORE: u32 = 16;

const NOBODY: u64 = u64::MAX;
const CLOSED: u64 = u64::MAX;

/// The violations, by kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Violations {
    pub torn: u64,
    pub conflicting: u64,
    pub missing: u64,
    pub double: u64,
    pub leaked: u64,
    /// Steps that took longer than the bound.
    pub delayed: u64,
    /// Errors and ends of children that should not occur.
    pub faults: u64,
}

impl Violations {
    pub fn total(&self) -> u64 {
        let Violations { torn, conflicting, missing, double, leaked, delayed, faults } = *self;
        torn + conflicting + missing + double + leaked + delayed + faults
    }
}

macro_rules! sums {
    ($type:ident: $($field:ident)+) => {
        impl $type {
            pub fn add(&mut self, other: &$type) {
                $(self.$field += other.$field;)+
            }
        }
    };
}
sums!(Violations: torn conflicting missing double leaked delayed faults);
sums!(Seen: delivered missed laps nothing void unique_runs unique_excused unique_of_the_gone unique_ignored
    claims_full claims_late claims_won joins stale standard closed replaced forked);

/// The numbers for the report.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub delivered: u64,
    pub missed: u64,
    pub laps: u64,
    pub nothing: u64,
    pub void: u64,
    pub unique_runs: u64,
    pub unique_excused: u64,
    pub unique_of_the_gone: u64,
    pub unique_ignored: u64,
    pub claims_full: u64,
    pub claims_late: u64,
    pub claims_won: u64,
    pub joins: u64,
    pub stale: u64,
    /// Processes that ran without some of the descriptors 0 to 2.
    pub standard: u64,
    /// How often a process closed or replaced its descriptors after joining.
    pub closed: u64,
    pub replaced: u64,
    /// Children that were forked in handlers, returned from them and ended well.
    pub forked: u64,
}

/// The oracle's knowledge of a child.
struct Subject {
    /// `true` if its worker is on the bus.
    reads: bool,
    /// `true` while it leaves: then it may still get the unique events that it has claimed.
    leaving: bool,
    start: u64,
    /// The next id that it has to account for.
    next: u64,
    /// Before this time, it had copied nothing of what is delivered now.
    polls_since: u64,
    /// The rank of the last event that it got from each slot.
    ranks: Vec<u64>,
    /// Its last win of each key without an event, by index into `wins`.
    last_win: Vec<Option<usize>>,
    stops: VecDeque<(u64, u64)>,
    history: VecDeque<Entry>,
}

/// A unique event with a shared key that no worker ran, and the times at which workers passed it and got nothing: some
/// process must have held the key then.
#[derive(Clone, Copy)]
struct Ignored {
    id: u64,
    tag: Tag,
    from: u64,
    to: u64,
}

/// A time for which a key was won: at some moment of `since..=until`, and at least until `ends`.
#[derive(Clone, Copy)]
struct Win {
    since: u64,
    until: u64,
    ends: u64,
    slot: usize,
}

pub struct Oracle<'a> {
    round: &'a Round,
    bus: &'a Bus,
    files: &'static mut [File],
    subjects: Vec<Subject>,
    /// Ids that a killed worker may have claimed.
    of_the_dead: Vec<(u64, u64)>,
    /// Kills of workers that may have won any key since the first of the two times.
    deaths: Vec<(u64, u64)>,
    ignored: Vec<Ignored>,
    /// Ids that a worker may have decided, because it had copied ahead, before it left without accounting for them.
    of_the_gone: Vec<(u64, u64)>,
    /// Wins of claims without an event, by key; then of unique events.
    wins: [Vec<Vec<Win>>; 2],
    newest: u64,
    pub violations: Violations,
    pub seen: Seen,
    told: u64,
    signals: VecDeque<String>,
    /// Times when the oracle itself did not run: then the host did not run, and no delay can be judged.
    stalls: VecDeque<(u64, u64)>,
    /// Not judged yet.
    slow: Vec<(usize, Entry)>,
}

/// The memory for the files, allocated once: children do not inherit it.
pub struct Archive(&'static mut [File]);

impl Archive {
    pub fn new() -> Archive {
        let bytes = FILES * size_of::<File>();
        let at = map_shared(bytes);
        // SAFETY: the range is the mapping just made. Children that touched it would die, and they do not.
        let result = unsafe { libc::madvise(at.as_ptr().cast(), bytes, libc::MADV_DONTFORK) };
        assert_eq!(result, 0, "madvise(MADV_DONTFORK)");
        // SAFETY: the mapping has this length, is aligned to a page, is never unmapped and has no other owner; zeros
        // are a `File`, which consists of numbers.
        Archive(unsafe { std::slice::from_raw_parts_mut(at.as_ptr().cast(), FILES) })
    }
}

impl<'a> Oracle<'a> {
    pub fn new(round: &'a Round, bus: &'a Bus, archive: &'a mut Archive) -> Oracle<'a> {
        // SAFETY: the oracle, which lives no longer than the borrow, is the only user of the files.
        let files: &'static mut [File] =
            unsafe { std::slice::from_raw_parts_mut(archive.0.as_mut_ptr(), archive.0.len()) };
        files.fill(EMPTY);
        let subject = || Subject {
            reads: false,
            leaving: false,
            start: 0,
            next: 0,
            polls_since: 0,
            ranks: vec![0; round.workers],
            last_win: vec![None; CLAIM_KEYS as usize],
            stops: VecDeque::new(),
            history: VecDeque::new(),
        };
        Oracle {
            round,
            bus,
            files,
            subjects: (0..round.workers).map(|_| subject()).collect(),
            of_the_dead: Vec::new(),
            deaths: Vec::new(),
            ignored: Vec::new(),
            of_the_gone: Vec::new(),
            wins: [vec![Vec::new(); CLAIM_KEYS as usize], vec![Vec::new(); CLAIM_KEYS as usize]],
            newest: 0,
            violations: Violations::default(),
            seen: Seen::default(),
            told: 0,
            signals: VecDeque::new(),
            stalls: VecDeque::new(),
            slow: Vec::new(),
        }
    }

    /// Handles one entry of `slot`'s log.
    pub fn hear(&mut self, slot: usize, entry: Entry) {
        let history = &mut self.subjects[slot].history;
        if history.len() == TRACED {
            history.pop_front();
        }
        history.push_back(entry);
        match entry {
            Entry::Joined { start, .. } => self.joined(slot, start),
            Entry::Posted { id, tag, before } => self.posted(slot, id, tag, before),
            Entry::Delivered { id, tag, since, until } => self.delivered(slot, id, tag, since, until),
            Entry::Polls { at } => self.subjects[slot].polls_since = at,
            Entry::Lagged { first, missed, at } => self.lagged(slot, first, missed, at),
            Entry::Cursor { id, at } => self.pass_until(slot, id, at),
            Entry::Leaving { id, at } => {
                self.pass_until(slot, id, at);
                self.subjects[slot].leaving = true;
            }
            Entry::Left { newest } => {
                self.subjects[slot].reads = false;
                self.subjects[slot].leaving = false;
                self.of_the_gone.push((self.subjects[slot].next, newest));
            }
            Entry::Void { id } => self.void(slot, id),
            Entry::Reported { id, what } => self.reported(slot, id, what),
            Entry::Won { key, since, until } => {
                self.seen.claims_won += 1;
                let wins = &mut self.wins[0][key as usize];
                self.subjects[slot].last_win[key as usize] = Some(wins.len());
                wins.push(Win { since, until, ends: since + claim_ttl_ns(key), slot });
            }
            Entry::Releases { key, at } => {
                if let Some(win) = self.subjects[slot].last_win[key as usize].take() {
                    let ends = &mut self.wins[0][key as usize][win].ends;
                    *ends = at.min(*ends);
                }
            }
            // The same event may have delayed the conductor just now, before it could report it.
            Entry::Slow { .. } => self.slow.push((slot, entry)),
            Entry::Fault { op } => {
                self.violations.faults += 1;
                self.tell(slot, format!("an error in {op:?}"));
            }
            Entry::Descriptors { how: How::Standard } => self.seen.standard += 1,
            Entry::Descriptors { how: How::Closed } => self.seen.closed += 1,
            Entry::Descriptors { how: How::Replaced } => self.seen.replaced += 1,
            Entry::Copy { status } => self.copy_ended(slot, status),
        }
    }

    /// Handles the end of a child that was forked in a handler. If its parent had ended before, `slot` is not a slot
    /// number.
    pub fn copy_ended(&mut self, slot: usize, status: i32) {
        if status == 0 {
            self.seen.forked += 1;
        } else {
            self.violations.faults += 1;
            self.tell(slot, format!("a child that returned from a handler ended with wait status {status:#x}"));
        }
    }

    fn joined(&mut self, slot: usize, start: u64) {
        self.seen.joins += 1;
        let subject = &mut self.subjects[slot];
        subject.reads = true;
        subject.leaving = false;
        subject.start = start;
        subject.next = start;
        subject.ranks.fill(0);
        subject.last_win.fill(None);
    }

    fn posted(&mut self, slot: usize, id: u64, tag: Tag, before: u64) {
        if tag.kind() == Some(Kind::Oversized) {
            self.violations.conflicting += 1;
            self.tell(slot, format!("{id} = {tag:?} was posted, although it is larger than the limit"));
        }
        let Some(file) = self.file(id) else { return };
        if tag.kind() == Some(Kind::Fragmented) {
            file.before = before;
            file.flags |= BEFORE;
        }
        self.identify(slot, id, tag);
    }

    fn delivered(&mut self, slot: usize, id: u64, tag: Tag, since: u64, until: u64) {
        self.seen.delivered += 1;
        let ids_known = self.newest(id);
        if id >= ids_known {
            self.violations.conflicting += 1;
            self.tell(slot, format!("{id} was delivered, but the next to be posted is {ids_known}"));
        }
        let last = &mut self.subjects[slot].ranks[tag.slot()];
        let rank = tag.rank() + 1;
        if rank <= *last {
            self.violations.conflicting += 1;
            self.tell(slot, format!("{tag:?} was delivered at {id} after a later one of its sender, or twice"));
        } else {
            *last = rank;
        }
        if self.subjects[slot].leaving {
            if !tag.kind().is_some_and(Kind::is_unique) {
                self.violations.conflicting += 1;
                self.tell(slot, format!("{id} = {tag:?} was delivered after it left"));
            }
        } else {
            self.pass_until(slot, id, until);
            self.subjects[slot].next = id + 1;
        }
        if tag.kind() == Some(Kind::Oversized) {
            self.violations.conflicting += 1;
            self.tell(slot, format!("{id} = {tag:?} was delivered, although its post failed"));
        }
        if tag.kind().is_some_and(Kind::is_unique) {
            self.seen.unique_runs += 1;
            if tag.kind() == Some(Kind::Shared) {
                let win = Win { since, until, ends: since + SHARED_TTL_NS, slot };
                self.wins[1][tag.shared_key() as usize].push(win);
            }
        }
        if self.file(id).is_some() {
            self.identify(slot, id, tag);
        }
        let Some(file) = self.file(id) else { return };
        file.runs += 1;
        if tag.kind().is_some_and(Kind::is_unique) && file.runs > 1 {
            self.violations.double += 1;
            self.tell(slot, format!("the unique event {id} = {tag:?} ran twice"));
        }
    }

    /// Records what `id` is.
    fn identify(&mut self, slot: usize, id: u64, tag: Tag) {
        let Some(file) = self.file(id) else { return };
        if file.flags & KNOWN == 0 {
            file.tag = tag;
            file.flags |= KNOWN;
        } else if file.tag != tag {
            let other = file.tag;
            self.violations.conflicting += 1;
            return self.tell(slot, format!("{id} is {tag:?} for one and {other:?} for another"));
        }
        if file.flags & VOID != 0 {
            self.violations.conflicting += 1;
            return self.tell(slot, format!("{id} is void for its reserver and {tag:?} for another"));
        }
        self.check_passed(slot, id);
    }

    /// Records that `slot` passed all ids before `id` without getting an event.
    fn pass_until(&mut self, slot: usize, id: u64, at: u64) {
        let Subject { next, start, reads, polls_since, .. } = self.subjects[slot];
        if !reads || id < next || id > self.newest(id) {
            self.violations.conflicting += 1;
            let newest = self.newest;
            return self.tell(slot, format!("it is at {id} after {next}, and the next id is {newest}"));
        }
        for passed in next..id {
            self.seen.nothing += 1;
            if let Some(file) = self.file(passed) {
                file.passed_by = file.passed_by.min(start);
                file.passed = (file.passed.0.min(polls_since), file.passed.1.max(at));
                if file.flags & KNOWN != 0 {
                    self.check_passed(slot, passed);
                }
            }
        }
        self.subjects[slot].next = id;
    }

    /// Checks a worker that passed `id` and did not get it, although it should have.
    fn check_passed(&mut self, slot: usize, id: u64) {
        let Some(&mut File { tag, flags, before, passed_by, .. }) = self.file(id) else { return };
        let Some(kind) = tag.kind().filter(|_| flags & KNOWN != 0 && passed_by != NOBODY) else { return };
        let due = kind.is_for_all() || kind == Kind::Fragmented && flags & BEFORE != 0 && passed_by <= before;
        if due {
            self.violations.missing += 1;
            self.tell(slot, format!("{id} = {tag:?} is an event for some, but not for one that began at {passed_by}"));
        }
    }

    fn lagged(&mut self, slot: usize, first: u64, missed: u64, at: u64) {
        self.seen.laps += 1;
        self.seen.missed += missed;
        self.pass_until(slot, first, at);
        let to = first + missed;
        self.subjects[slot].next = to;
        // A lapped reader continues an eighth of the ring above the oldest event.
        let overwritten = to + self.round.capacity - self.round.capacity / 8;
        if self.newest(overwritten) < overwritten {
            if missed == 1 {
                if let Some(file) = self.file(first) {
                    file.flags |= HEADLESS;
                }
            } else {
                self.violations.missing += 1;
                let newest = self.newest;
                self.tell(slot, format!("{first}..{to} were reported as missed, but the next id is only {newest}"));
            }
        }
    }

    fn void(&mut self, slot: usize, id: u64) {
        self.seen.void += 1;
        let Some(file) = self.file(id) else { return };
        file.flags |= VOID;
        if file.flags & KNOWN != 0 {
            let tag = file.tag;
            self.violations.conflicting += 1;
            self.tell(slot, format!("{id} is void for its reserver and {tag:?} for another"));
        }
    }

    fn reported(&mut self, slot: usize, id: u64, what: Odd) {
        let count = match what {
            Odd::ClaimsFull | Odd::ClaimLate => {
                let count =
                    if what == Odd::ClaimsFull { &mut self.seen.claims_full } else { &mut self.seen.claims_late };
                *count += 1;
                if let Some(file) = self.file(id) {
                    file.flags |= EXCUSED;
                }
                return;
            }
            Odd::Unreadable | Odd::Torn => &mut self.violations.torn,
            Odd::Misattributed | Odd::GivenUpEarly => &mut self.violations.conflicting,
            Odd::LostClaim => &mut self.violations.double,
            Odd::FalseHolder => &mut self.violations.missing,
            Odd::NoSeat => &mut self.violations.leaked,
            Odd::HandlerTrouble => &mut self.violations.faults,
        };
        *count += 1;
        self.tell(slot, format!("{id}: {what:?}"));
    }

    /// Checks whether a step since the last call was slower than allowed.
    pub fn judge_slow(&mut self) {
        for (slot, entry) in std::mem::take(&mut self.slow) {
            if let Entry::Slow { since, until, unserved, .. } = entry {
                self.judge_slow_step(slot, entry, since, until, unserved);
            }
        }
    }

    fn judge_slow_step(&mut self, slot: usize, entry: Entry, since: u64, until: u64, unserved: u64) {
        let within = |times: &VecDeque<(u64, u64)>| -> u64 {
            times.iter().map(|&(from, to)| to.min(until).saturating_sub(from.max(since))).sum()
        };
        let (stopped, stalled) = (within(&self.subjects[slot].stops), within(&self.stalls));
        let net = (until - since).saturating_sub(stopped).saturating_sub(stalled).saturating_sub(unserved);
        if net > self.round.bound_ns() {
            self.violations.delayed += 1;
            self.tell(slot, format!("{entry:?}, {stopped} stopped, {stalled} stalled: {net} ns is too long"));
        }
    }

    pub fn stopped(&mut self, slot: usize, from: u64, to: u64) {
        let stops = &mut self.subjects[slot].stops;
        if stops.len() == 64 {
            stops.pop_front();
        }
        stops.push_back((from, to));
    }

    pub fn stalled(&mut self, from: u64, to: u64) {
        if self.stalls.len() == 64 {
            self.stalls.pop_front();
        }
        self.stalls.push_back((from, to));
    }

    /// Returns how long `slot` was stopped since `since`.
    pub fn stopped_since(&self, slot: usize, since: u64) -> u64 {
        self.subjects[slot].stops.iter().map(|&(from, to)| to.saturating_sub(from.max(since))).sum()
    }

    /// Handles the death of the process of `slot`; its log has been read to its end.
    pub fn died(&mut self, slot: usize) {
        let subject = &mut self.subjects[slot];
        if std::mem::replace(&mut subject.reads, false) {
            let newest = self.bus.next_id();
            let Subject { next, polls_since, .. } = self.subjects[slot];
            self.of_the_dead.push((next, newest));
            self.deaths.push((polls_since, boottime_ns()));
        }
    }

    /// Counts a violation that the conductor found.
    pub fn accuse(&mut self, slot: usize, kind: impl FnOnce(&mut Violations) -> &mut u64, what: String) {
        *kind(&mut self.violations) += 1;
        self.tell(slot, what);
    }

    pub fn note_signal(&mut self, what: String) {
        if self.signals.len() == TRACED {
            self.signals.pop_front();
        }
        self.signals.push_back(what);
    }

    /// Returns the next id, which is at least `wanted` if that is known.
    fn newest(&mut self, wanted: u64) -> u64 {
        if self.newest <= wanted {
            self.newest = self.bus.next_id();
        }
        self.newest
    }

    /// Returns the file of `id`, or `None` if it was closed before.
    fn file(&mut self, id: u64) -> Option<&mut File> {
        let at = id as usize % FILES;
        let before = self.files[at];
        if before.id != id {
            if before.id != CLOSED {
                if before.id > id {
                    self.seen.stale += 1;
                    return None;
                }
                self.close(before);
            }
            self.files[at] = File { id, ..EMPTY };
        }
        Some(&mut self.files[at])
    }

    fn close(&mut self, file: File) {
        let File { id, tag, flags, passed_by, passed, runs, .. } = file;
        let kind = tag.kind().filter(|_| flags & KNOWN != 0);
        if flags & HEADLESS != 0 && kind.is_some_and(|kind| kind != Kind::Fragmented) {
            self.violations.missing += 1;
            self.tell(usize::MAX, format!("{id} = {tag:?} was reported as missed, but not overwritten"));
        }
        if !kind.is_some_and(Kind::is_unique) || runs > 0 || passed_by == NOBODY {
            return;
        }
        if flags & EXCUSED != 0 {
            self.seen.unique_excused += 1;
        } else if self.of_the_dead.iter().any(|&(from, to)| (from..to).contains(&id)) {
            self.seen.unique_of_the_gone += 1;
        } else if kind == Some(Kind::Shared) {
            if self.of_the_gone.iter().any(|&(from, to)| (from..to).contains(&id)) {
                self.seen.unique_of_the_gone += 1;
                return;
            }
            self.ignored.push(Ignored { id, tag, from: passed.0, to: passed.1 });
        } else {
            self.violations.missing += 1;
            self.tell(usize::MAX, format!("the unique event {id} = {tag:?} never ran, without a kill or a report"));
        }
    }

    /// The end of the round: closes all files and compares all claims.
    pub fn close_all(&mut self) {
        for at in 0..FILES {
            let file = std::mem::replace(&mut self.files[at], EMPTY);
            if file.id != CLOSED {
                self.close(file);
            }
        }
        self.check_ignored();
        for (which, name) in ["the claim on", "the unique events' key"].into_iter().enumerate() {
            for key in 0..CLAIM_KEYS as usize {
                let mut wins = std::mem::take(&mut self.wins[which][key]);
                wins.sort_by_key(|win| win.since);
                for (i, first) in wins.iter().enumerate() {
                    for second in wins[i + 1..].iter().take_while(|second| second.since < first.ends) {
                        let first_then_second = second.until >= first.ends;
                        let second_then_first = first.until >= second.ends;
                        if !first_then_second && !second_then_first {
                            self.violations.double += 1;
                            self.tell(
                                second.slot,
                                format!(
                                    "{name} {key} was won in {}..{} by slot {}, held until {}, and won in {}..{}",
                                    first.since, first.until, first.slot, first.ends, second.since, second.until
                                ),
                            );
                        }
                    }
                }
            }
        }
    }

    /// Checks that some process held the key of each unique event that was ignored.
    fn check_ignored(&mut self) {
        for Ignored { id, tag, from, to } in std::mem::take(&mut self.ignored) {
            let overlaps = |since: u64, until: u64| since <= to && until + SHARED_TTL_NS >= from;
            let wins = &self.wins[1][tag.shared_key() as usize];
            if wins.iter().any(|win| overlaps(win.since, win.until)) {
                self.seen.unique_ignored += 1;
            } else if self.deaths.iter().any(|&(since, until)| overlaps(since, until)) {
                self.seen.unique_of_the_gone += 1;
            } else {
                self.violations.missing += 1;
                self.tell(
                    usize::MAX,
                    format!("the unique event {id} = {tag:?} was ignored in {from}..{to}, although its key was free"),
                );
            }
        }
    }

    fn tell(&mut self, slot: usize, what: String) {
        self.told += 1;
        if self.told > MOST_TOLD {
            return;
        }
        let whose = if slot < self.subjects.len() { format!("slot {slot}") } else { "at the end".to_owned() };
        eprintln!("torture: VIOLATION in round {}: {whose}: {what}", self.round.number);
        if self.told == 1 {
            self.write_trace(&what);
        }
    }

    /// Writes the last reports of each child, and the signals sent, into a file.
    fn write_trace(&self, what: &str) {
        let mut text = format!("{what}\n{:#?}\n", self.round);
        for (slot, subject) in self.subjects.iter().enumerate() {
            let _ = writeln!(text, "\nslot {slot}, at {}, stops {:?}:", subject.next, subject.stops);
            for entry in &subject.history {
                let _ = writeln!(text, "  {entry:?}");
            }
        }
        let _ = writeln!(text, "\nsignals:");
        for signal in &self.signals {
            let _ = writeln!(text, "  {signal}");
        }
        let path = std::env::temp_dir().join(format!("seqcast-torture-{}.trace", std::process::id()));
        match std::fs::write(&path, text) {
            Ok(()) => eprintln!("torture: trace in {}", path.display()),
            Err(error) => eprintln!("torture: no trace: {error}"),
        }
    }
}

const EMPTY: File =
    File { id: CLOSED, tag: Tag(0), before: 0, passed_by: NOBODY, passed: (u64::MAX, 0), runs: 0, flags: 0 };
