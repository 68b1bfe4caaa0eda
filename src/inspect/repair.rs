//! Two repairs that are safe while workers run. The bus needs neither: the next worker that joins takes over a dead
//! worker's seat, and an unused segment only occupies memory.

use std::sync::Arc;

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::event::Died;
use crate::os::sys;
use crate::seat::adopt::{Adopted, adopt_all};
use crate::seat::holder::{Hold, lives_without_lock};
use crate::seat::publish::Writer;
use crate::seat::words::SeatWords;
use crate::segment::layout::seat_word;
use crate::segment::options::SegmentOptions;
use crate::segment::{self, Segment};

/// Frees every seat whose holder has died, as the next worker that joins would, and returns the numbers of these seats.
///
/// It locks each seat while it frees it. It keeps one seat free for workers that join meanwhile, so it does not touch
/// the last dead seat if no other seat is free. A worker that finds no free seat except a locked one waits for it, for
/// at most 50 ms. A seat whose holder lives and has lost its lock stays with its holder. Posts
/// [`library::DIED`](crate::library::DIED) for each seat that it frees.
///
/// # Errors
///
/// As [`Bus::open`](crate::Bus::open); [`ErrorKind::Corrupt`].
pub fn adopt_dead(name: &str, options: &SegmentOptions) -> Result<Vec<u32>> {
    let segment = Arc::new(Segment::open(name, options)?);
    let mut free = 0_usize;
    let mut dead = Vec::new();
    for (seat, hold) in (0..).zip(Hold::of_all(&segment)?) {
        match hold {
            Hold::Locked | Hold::Unlocked => continue,
            Hold::Dead => dead.push(seat),
            Hold::Free => {}
        }
        free += 1;
    }
    let mut freed = Vec::new();
    for seat in dead {
        if free > 1 && adopt(&segment, seat)? {
            freed.push(u32::from(seat));
        }
    }
    Ok(freed)
}

fn has_holder(segment: &Segment, seat: u16) -> bool {
    SeatWords::of(&segment.seats(), seat).get(seat_word!(identity.pid)) != 0
}

/// Returns `false` if another process was faster, or the holder lives.
fn adopt(segment: &Arc<Segment>, seat: u16) -> Result<bool> {
    // The lock proves that the last holder is dead or has left. It is released when this returns.
    let Some(_lock) = segment.take_seat(seat)? else { return Ok(false) };
    if !has_holder(segment, seat) || lives_without_lock(segment, seat) {
        return Ok(false);
    }
    let words = SeatWords::of(&segment.seats(), seat);
    let died = Died::left_by(segment, seat);
    let Adopted { posting, had_reserved, .. } = adopt_all(segment, seat)?;
    words.add(seat_word!(identity.incarnation), 1);
    words.add(seat_word!(identity.adopted), 1);
    // Before the system call below: a worker that joins sees that the lock is held only for a moment.
    words.set(seat_word!(identity.pid), 0);
    if had_reserved {
        segment.wake_for_decided();
    }
    if let Some(died) = died {
        // The lock is held until this returns. The pid is that of this process, which posts.
        Writer::new(Arc::clone(segment), posting, words, sys::pid()).post_death(&died)?;
    }
    Ok(true)
}

/// Removes the segment `name`, finished or not and of any layout, if no process can write to it. Returns `false` if a
/// process has it open for writing, as every worker and every [`Bus`](crate::Bus) has. Inspectors do not count.
///
/// The proof is a read lease of the kernel (`F_SETLEASE`). The kernel grants it only if no process of any namespace has
/// the file open or mapped for writing. While the lease is held, no process can open the file for writing; an attempt
/// to open the segment waits and tries again.
///
/// # Errors
///
/// [`ErrorKind::NotFound`]; [`ErrorKind::Foreign`] if it is not a segment; [`ErrorKind::Denied`];
/// [`ErrorKind::System`] if the kernel gives no lease: only the owner and root get one.
pub fn unlink_unheld(name: &str) -> Result<bool> {
    segment::unlink_unheld(name)
}
