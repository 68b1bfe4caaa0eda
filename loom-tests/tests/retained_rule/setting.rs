//! The size of a world, the programs of its actors, and the steps that are taken wrongly.

/// An operation of an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Posts an event that is not retained.
    Plain,
    /// Posts a value under a key.
    Retain(u8),
    /// Posts a value in two fragments.
    Big(u8),
    Clear(u8),
    /// Looks up a key.
    Get(u8),
    /// Takes an id, which readers then give up.
    Reserve,
    /// Joins, catches up and reads. After every lap it catches up again.
    Read,
}

macro_rules! mutants {
    ($($name:ident $what:literal)+) => {
        /// A step that the model takes wrongly. The decisions, which the crate's own code makes, have their mutants in
        /// the crate.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Mutant {
            None,
            $(#[doc = $what] $name),+
        }
        pub(crate) const MUTANTS: &[(Mutant, &str)] = &[$((Mutant::$name, $what)),+];
    };
}

mutants! {
    DisplaceUnsettled "an event is displaced without being settled before"
    NoRecheck "settle without S4: the cell is not looked at again after the slot"
    RecheckFirst "S4 before the slot is read"
    MarkFirst "settle marks the cell before the slot is exchanged"
    SlotStore "the slot is stored to, not exchanged"
    AdoptClears "an adopter takes the announcement back and settles nothing"
    AdoptClearsFirst "an adopter takes the announcement back, then settles"
    AdoptOwnBlock "an adopter settles only the event that names its own block"
    AdoptScratch "an adopter settles all that it finds, with its own block as scratch"
    AnnounceLate "announced after the place was found"
    AnnounceNoFence "announced without a fence"
    UnannounceEarly "the announcement is taken back before the event is settled"
    SweepOneStep "a dead key is taken away in one step, without closing its place first"
    SweepAnnFirst "announcements are looked at before the places are closed"
    SweepSlotFirst "the slot is looked at before the announcements"
    NotPreparedAgain "a poster that has settled for another does not write its own value again"
    ClearForgets "a clear empties the slot and leaves no id"
    NoPlaceBefore "the place is not taken before the post: the one that settles looks for one"
    JoinTableFirst "a joiner reads the table, then takes its start from the event id"
    JoinNoScan "a joiner does not settle what is posted and unsettled"
    JoinScanFirst "a joiner settles what is unsettled, then takes its start"
    WalkUnchecked "the index is not looked at again after its slots"
    WalkNotAgain "buckets before the one that asks for a reset are not walked again"
    ResetKeepsOrder "after a reset ids are still expected to grow"
    TombstonesNotHanded "a lapped reader is not told what was cleared"
    GetUnsettled "a look-up does not settle what was announced"
    HeadlessSkipped "a message whose head was missed is passed over"
    RecheckBeforeCopy "S4 before the copy"
}

/// The sizes, and the programs of the actors.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// Cells of the ring.
    pub(crate) capacity: u8,
    /// Places of an index bucket.
    pub(crate) places: u8,
    pub(crate) buckets: u8,
    pub(crate) programs: Vec<Vec<Op>>,
    pub(crate) kills: u8,
    /// The number of values whose ttl may end, at any moment.
    pub(crate) expiries: u8,
    /// Check in every state that each actor, running alone, ends its operation.
    pub(crate) alone: bool,
    pub(crate) mutant: Mutant,
}

impl Setting {
    pub(crate) const fn small() -> Setting {
        Setting {
            capacity: 1,
            places: 1,
            buckets: 1,
            programs: vec![],
            kills: 0,
            expiries: 0,
            alone: false,
            mutant: Mutant::None,
        }
    }

    pub(crate) fn of(programs: &[&[Op]]) -> Setting {
        Setting { programs: programs.iter().map(|program| program.to_vec()).collect(), ..Setting::small() }
    }

    pub(crate) fn capacity(self, capacity: u8) -> Setting {
        Setting { capacity, ..self }
    }

    pub(crate) fn places(self, places: u8) -> Setting {
        Setting { places, ..self }
    }

    pub(crate) fn buckets(self, buckets: u8) -> Setting {
        Setting { buckets, ..self }
    }

    pub(crate) fn kills(self, kills: u8) -> Setting {
        Setting { kills, ..self }
    }

    pub(crate) fn expiries(self, expiries: u8) -> Setting {
        Setting { expiries, ..self }
    }

    pub(crate) fn alone(self) -> Setting {
        Setting { alone: true, ..self }
    }

    /// Returns the bucket of `key`. If there are two, key 1 has one of its own.
    pub(crate) fn bucket_of(&self, key: u8) -> u8 {
        u8::from(self.buckets > 1 && key > 1)
    }
}
