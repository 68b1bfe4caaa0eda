//! Retained events: operations that are interrupted at every access, by other seats that act, die and are adopted. And
//! a relay that is killed before each of its writes.
//!
//! `protocol` is the crate's own source, compiled once more. The same oracle as in the races over loom checks the end.

#[path = "../../../src/protocol/mod.rs"]
#[allow(dead_code, unused_imports)]
mod protocol;
#[allow(dead_code, unused_imports)]
mod sync;

mod interrupt;
#[path = "../common/life.rs"]
#[expect(clippy::missing_const_for_thread_local, reason = "over loom it cannot be constant")]
mod life;
mod relay;
mod report;
#[path = "../common/table.rs"]
#[allow(dead_code)]
mod table;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use interrupt::interrupted_at;
use life::killed_at;
use protocol::retained::Absent;
use sync::Mode;
use table::{CLEAR, KEY, OTHER, Sitter, THIRD, Tabled};

/// More accesses, and more writes, than any operation makes.
const MANY: u32 = 2_000;

type Act = fn(&Tabled, &mut Sitter);

/// An operation, and the other operations that interrupt it.
#[derive(Clone, Copy)]
struct Scene {
    capacity: usize,
    places: usize,
    /// Runs before the operation.
    prepare: fn(&Tabled),
    /// The operation that is interrupted. Seat 0 runs it.
    operation: Act,
    /// Seat 1 runs it meanwhile, until it dies.
    life: Act,
    /// The successor in seat 1 runs it then.
    successor: Act,
    /// Runs after the operation.
    after: fn(&Tabled),
}

impl Scene {
    fn new(operation: Act, life: Act) -> Scene {
        Scene { capacity: 8, places: 1, prepare: |_| {}, operation, life, successor: |_, _| {}, after: |_| {} }
    }

    fn places(self, places: usize) -> Scene {
        Scene { places, ..self }
    }

    fn prepare(self, prepare: fn(&Tabled)) -> Scene {
        Scene { prepare, ..self }
    }

    fn successor(self, successor: Act) -> Scene {
        Scene { successor, ..self }
    }

    fn after(self, after: fn(&Tabled)) -> Scene {
        Scene { after, ..self }
    }

    /// Plays the scene with many cells, for every access of the operation and every write of the life.
    fn play(self) {
        self.play_with(&[8]);
    }

    /// Plays the scene like [`play`](Scene::play), with one, two and many cells.
    fn play_with_laps(self) {
        self.play_with(&[1, 2, 8]);
    }

    fn play_with(self, capacities: &[usize]) {
        let begin = Instant::now();
        let mut plays = 0;
        for &capacity in capacities {
            let scene = Scene { capacity, ..self };
            let last = (0..MANY).find(|&write| !scene.play_with_death_at(write, &mut plays));
            assert!(last.is_some(), "a life makes more than {MANY} writes");
        }
        report::row(capacities, plays, begin.elapsed().as_secs_f64());
    }

    /// Plays the scene for every access of the operation, with a death at the life's write number `write`. Returns
    /// `false` if the life never makes that many writes.
    fn play_with_death_at(self, write: u32, plays: &mut u64) -> bool {
        let has_died = Rc::new(Cell::new(false));
        for access in 0..MANY {
            let world = Tabled::new(Mode::Plain, self.capacity, self.places, 4);
            (self.prepare)(&world);
            let mut sitter = world.sit(0);
            let (others, died) = (world.clone(), has_died.clone());
            let interruption = move || {
                let mut sitter = others.sit(1);
                if killed_at(write, || (self.life)(&others, &mut sitter)).is_none() {
                    died.set(true);
                }
                (self.successor)(&others, &mut others.sit(1));
            };
            let ended = interrupted_at(access, interruption, || (self.operation)(&world, &mut sitter));
            (self.after)(&world);
            world.judge();
            *plays += 1;
            if ended.is_err() {
                return has_died.get();
            }
        }
        panic!("the operation makes more than {MANY} accesses");
    }
}

/// Has `seat` post an event and die before it settles the event.
fn leave_unsettled(world: &Tabled, seat: u16, content: u64) {
    let mut sitter = world.sit(seat);
    let slot = world.begin(&mut sitter, KEY, Absent::Take).unwrap();
    let id = world.ring.newest();
    assert!(killed_at(writes_to_post(seat), || world.finish(&mut sitter, KEY, slot, content)).is_none());
    assert!(world.ring.unsettled(id).is_some());
}

/// Returns the number of writes that the first retained post of `seat` makes until the event exists.
fn writes_to_post(seat: u16) -> u32 {
    let is_posted = |writes: &u32| {
        let world = Tabled::new(Mode::Plain, 2, 1, 4);
        let mut sitter = world.sit(seat);
        let slot = world.begin(&mut sitter, KEY, Absent::Take).unwrap();
        killed_at(*writes, || world.finish(&mut sitter, KEY, slot, 1)).is_none() && world.ring.newest() > 0
    };
    (0..MANY).find(is_posted).expect("a post makes fewer writes")
}

#[test]
fn a_post_meets_the_lives_of_others() {
    let operation: Act = |world, sitter| _ = world.retain(sitter, KEY, 1);
    let life: Act = |world, sitter| {
        world.retain(sitter, KEY, 2);
        world.post(sitter, 10);
        world.retain(sitter, OTHER, 3);
    };
    let scene = Scene::new(operation, life).places(2);
    scene.successor(|world, sitter| _ = world.retain(sitter, KEY, 4)).play_with_laps();
}

#[test]
fn a_post_meets_others_who_want_its_place() {
    let operation: Act = |world, sitter| _ = world.retain(sitter, KEY, 2);
    let life: Act = |world, sitter| _ = world.retain(sitter, OTHER, 3);
    let prepare = |world: &Tabled| {
        let mut sitter = world.sit(2);
        world.retain(&mut sitter, KEY, 1);
        world.clear(&mut sitter, KEY);
    };
    let successor: Act = |world, sitter| {
        world.clear(sitter, OTHER);
        world.retain(sitter, KEY, 4);
    };
    Scene::new(operation, life).prepare(prepare).successor(successor).play_with_laps();
}

#[test]
fn a_post_that_settles_meets_the_lives_of_others() {
    let operation: Act = |world, sitter| _ = world.post(sitter, 10);
    let life: Act = |world, sitter| {
        world.retain(sitter, KEY, 2);
        // These posts write the block of the event that is being settled.
        world.post(sitter, 11);
        world.post(sitter, 12);
        world.clear(sitter, KEY);
        world.retain(sitter, OTHER, 3);
    };
    let successor: Act = |world, sitter| _ = world.retain(sitter, OTHER, 4);
    let scene = Scene::new(operation, life).prepare(|world| leave_unsettled(world, 2, 1)).successor(successor);
    scene.after(|world| _ = world.sit(2)).play_with_laps();
}

#[test]
fn one_that_settles_meets_what_comes_after() {
    let life: Act = |world, sitter| {
        world.sit(2);
        world.clear(sitter, KEY);
        world.retain(sitter, OTHER, 3);
    };
    let scene = Scene::new(|world, sitter| world.settle(sitter, 0), life);
    scene.prepare(|world| leave_unsettled(world, 2, 1)).after(|world| _ = world.sit(2)).play();
}

#[test]
fn one_that_settles_meets_another() {
    let prepare = |world: &Tabled| {
        leave_unsettled(world, 2, 1);
        leave_unsettled(world, 3, 2);
        world.poll_all(&mut world.sit(1));
    };
    let life: Act = |world, sitter| {
        world.settle(sitter, 0);
        world.settle(sitter, 1);
    };
    let after = |world: &Tabled| {
        world.sit(2);
        world.sit(3);
    };
    Scene::new(|world, sitter| world.settle(sitter, 1), life).prepare(prepare).after(after).play();
}

#[test]
fn a_place_is_looked_for_in_a_bucket_that_is_written_again() {
    let life: Act = |world, sitter| {
        world.retain(sitter, THIRD, 3);
        world.begin(sitter, KEY, Absent::Take);
    };
    let scene = Scene::new(|world, sitter| _ = world.retain(sitter, KEY, 2), life).places(3);
    let scene = scene.prepare(|world| _ = world.retain(&mut world.sit(2), OTHER, 1));
    scene.successor(|world, sitter| _ = world.retain(sitter, THIRD, 4)).play();
}

#[test]
fn a_joiner_is_brought_up_to_date_among_the_lives_of_others() {
    let operation: Act = |world, sitter| {
        let to = world.ring.newest();
        let (_, handed) = world.catch_up(sitter, 0, to);
        world.judge_handed(to, &handed);
    };
    let life: Act = |world, sitter| {
        world.retain(sitter, KEY, 2);
        world.post(sitter, 10);
        world.retain(sitter, OTHER, 3);
    };
    let scene = Scene::new(operation, life).places(2);
    let scene = scene.prepare(|world| _ = world.retain(&mut world.sit(2), OTHER, 1));
    scene.successor(|world, sitter| _ = world.retain(sitter, KEY, 4)).play_with_laps();
}

#[test]
fn a_lapped_reader_is_brought_up_to_date_beside_a_sweep() {
    let operation: Act = |world, sitter| {
        // The reader has read the value and not the clear.
        let (reset, handed) = world.catch_up(sitter, 1, 2);
        assert!(reset || handed == [(KEY, (1, CLEAR))], "it takes the value for retained: {handed:?}");
    };
    let prepare = |world: &Tabled| {
        let mut sitter = world.sit(2);
        world.retain(&mut sitter, KEY, 1);
        world.clear(&mut sitter, KEY);
    };
    Scene::new(operation, |world, sitter| _ = world.retain(sitter, OTHER, 2)).prepare(prepare).play();
}

#[test]
fn a_look_up_meets_the_lives_of_others() {
    let look_up: Act = |world, sitter| {
        world.poll_all(sitter);
        world.get(sitter, KEY);
    };
    let life: Act = |world, sitter| {
        world.retain(sitter, KEY, 2);
        world.clear(sitter, KEY);
        world.retain(sitter, OTHER, 3);
    };
    let scene = Scene::new(look_up, life).prepare(|world| _ = world.retain(&mut world.sit(2), KEY, 1));
    scene.successor(look_up).play_with_laps();
}

#[test]
fn what_is_unsettled_for_a_lap_is_settled_for_a_joiner() {
    let world = Tabled::new(Mode::Plain, 2, 1, 4);
    leave_unsettled(&world, 2, 1);
    let mut sitter = world.sit(1);
    world.post(&mut sitter, 10);
    let (_, handed) = world.catch_up(&mut sitter, 0, 2);
    assert_eq!(handed, [(KEY, (0, 1))]);
}
