//! The sizes of a world, the programs of its actors, and the steps that are taken wrongly.

/// An operation of an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// A post that waits for readers.
    Post,
    /// A post that is refused at once.
    Try,
    /// Of two fragments, with room for both asked for before the first.
    Post2,
    /// Join as a reader that is waited for, and read so many events.
    Must(u8),
    /// The same; posts from the handler of each event.
    MustPost(u8),
    /// A reader that nobody waits for, whose handler posts.
    LossyPost(u8),
    Leave,
}

macro_rules! mutants {
    ($($name:ident $what:literal)+) => {
        /// A step that the model takes wrongly.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Mutant {
            None,
            $(#[doc = $what] $name),+
        }
        pub(crate) const MUTANTS: &[(Mutant, &str)] = &[$((Mutant::$name, $what)),+];
    };
}
mutants! {
    JoinNoFence "a joiner takes its start before its flag is seen (no fence)"
    JoinStartFirst "a joiner takes its start, then announces"
    JoinStartAnnounced "a joiner starts at the cursor that it announced"
    JoinNoCursor "a joiner announces no cursor before it has its start"
    TailLate "a scanner takes the event id after the records"
    SlowestOnly "a poster that waits looks again at the slowest alone"
    CursorEarly "a reader stores its cursor before the second look"
    LimitOnce "a poster whose exchange failed does not look at its limit again"
    DeadNotAsked "nobody asks whether the slowest is dead"
    DeadStore "the flag of the dead is cleared by a store"
    CutStore "a reader is cut off by a store"
    CutPrivate "a poster that has waited long enough goes on and leaves no trace"
    HandlerWaits "a handler of a reader that is waited for waits"
    RearmNext "a reader that was cut off takes itself for safe from where it reads"
    RearmNoFence "taken up again without a fence"
    LeaveKeeps "a reader that leaves keeps its flag"
    AdoptKeeps "an adopter keeps the flag of the dead"
    AdoptSameJoin "an adopter counts no join"
    // These break nothing.
    TailHint "a scanner goes by the event id's hint instead of the id it is about to take"
    NeedFirst "a scanner reads the cursor before the flag"
    JoinFlagFirst "a joiner's flag is stored before its cursor"
}
/// The number of entries at the end of `MUTANTS` that break nothing.
pub(crate) const REDUNDANT: usize = 3;

/// The sizes, and the programs of the actors.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// Cells of the ring.
    pub(crate) capacity: u8,
    pub(crate) programs: Vec<Vec<Op>>,
    pub(crate) kills: u8,
    /// How often a post may have waited for long enough.
    pub(crate) patience: u8,
    pub(crate) mutant: Mutant,
}

impl Setting {
    pub(crate) fn of(capacity: u8, kills: u8, patience: u8, programs: &[&[Op]]) -> Setting {
        let programs = programs.iter().map(|program| program.to_vec()).collect();
        Setting { capacity, programs, kills, patience, mutant: Mutant::None }
    }
}
