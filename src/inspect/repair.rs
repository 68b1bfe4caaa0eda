//! The two repairs that are proven safe, for operators. The bus needs neither: the next to join takes the dead one's
//! seat over, and an idle segment harms nobody.

use std::sync::Arc;

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::seat::adopt::adopt_all;
use crate::seat::holder::{Hold, lives_without_lock};
use crate::seat::words::SeatWords;
use crate::segment::layout::seat_word;
use crate::segment::options::SegmentOptions;
use crate::segment::{self, Segment};

/// Frees every seat whose holder has died, as the next worker to join would, and returns their numbers. The
/// seat's lock, which the kernel takes from the dead, is held meanwhile. A seat whose lock is lost while its holder
/// lives is left to its holder.
///
/// If no other seat is free it leaves the dead one to the next worker that joins. A worker that finds no free seat but
/// one that this has locked waits for it a moment, which has an end even if this is stopped meanwhile.
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

/// `false` if somebody else was faster.
fn adopt(segment: &Segment, seat: u16) -> Result<bool> {
    // The lock is the proof that the last holder is dead or has left, and ends with this call.
    let Some(_lock) = segment.take_seat(seat)? else { return Ok(false) };
    if !has_holder(segment, seat) || lives_without_lock(segment, seat) {
        return Ok(false);
    }
    let words = SeatWords::of(&segment.seats(), seat);
    let had_reserved = adopt_all(segment, seat)?.had_reserved;
    words.add(seat_word!(identity.incarnation), 1);
    words.add(seat_word!(identity.adopted), 1);
    // Before the system call, so that a worker that joins sees soon that the seat is locked for a moment only.
    words.set(seat_word!(identity.pid), 0);
    if had_reserved {
        segment.wake_for_decided();
    }
    Ok(true)
}

/// Removes the segment `name`, finished or not and of whatever layout, if it is proven that no process can write to it.
/// `false` if one has it open for writing, as every worker and every [`Bus`](crate::Bus) has. Who only looks does not
/// count.
///
/// The proof is a read lease of the kernel (`F_SETLEASE`): it is given only on a file that nobody has open or mapped
/// for writing, in whatever namespace, and while it lasts nobody can open it so; who tries is told to try again.
///
/// # Errors
///
/// [`ErrorKind::NotFound`]; [`ErrorKind::Foreign`] if it is not a segment of seqcast's; [`ErrorKind::Denied`];
/// [`ErrorKind::System`] if there is no proof to be had: only the owner and root get leases.
pub fn unlink_unheld(name: &str) -> Result<bool> {
    segment::unlink_unheld(name)
}
