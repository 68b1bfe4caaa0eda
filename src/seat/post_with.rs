//! Posts payloads that are produced where they are posted from.

use crate::error::Result;
use crate::event::wire::Keyed;
use crate::event::{Buffer, NoRoom, Sender, Sink, Special, Topic};
use crate::os::fork::ForkGuard;
use crate::seat::draft::{Draft, Drafted};
use crate::seat::post::Posts;

/// The most bytes that are allocated before they are written.
const MOST_AT_FIRST: usize = 64 << 10;

/// Produces a payload of `len` bytes by `fill` in a private buffer.
fn fill_buffer(len: usize, fill: impl FnOnce(&mut Sink<'_>) -> Result<()>) -> Result<Buffer> {
    let mut buffer = Buffer::with_capacity(len.min(MOST_AT_FIRST));
    let mut sink = Sink::to_buffer(&mut buffer, len);
    fill(&mut sink)?;
    sink.finish()?;
    Ok(buffer)
}

/// Posts an event whose payload, of `len` bytes, `fill` writes into a private buffer first.
pub(crate) fn send_buffered(
    sender: impl Sender,
    topic: Topic<'_>,
    special: Special<'_>,
    len: usize,
    fill: impl FnOnce(&mut Sink<'_>) -> Result<()>,
) -> Result<u64> {
    sender.send(topic, special, &fill_buffer(len, fill)?[..], NoRoom::Wait)
}

/// Posts an event whose payload, of `len` bytes, `fill` writes into the private block of `handle`. Calls `posted` with
/// its id while no other thread posts.
pub(crate) fn send_filled<H: Posts + Sender>(
    mut handle: H,
    guard: ForkGuard,
    topic: Topic<'_>,
    special: Special<'_>,
    len: usize,
    fill: impl FnOnce(&mut Sink<'_>) -> Result<()>,
    posted: impl Fn(u64),
) -> Result<u64> {
    handle.check()?;
    topic.check_to_post()?;
    let keyed = match special {
        Special::Nothing => Keyed::Nothing,
        Special::Unique(unique) => Keyed::Unique(handle.unique_key(unique)?),
        Special::Retained { .. } | Special::Cluster(_) => return send_buffered(handle, topic, special, len, fill),
    };
    let mut draft = Draft::new(&mut handle, topic, keyed);
    draft.begin(len)?;
    let mut sink = Sink::to_place(&mut draft, len, guard);
    fill(&mut sink)?;
    sink.finish()?;
    match draft.post(0, NoRoom::Wait, |_| Ok(()), posted)? {
        Drafted::Posted(id) => Ok(id),
        Drafted::Buffer(buffer) => handle.send(topic, special, &buffer[..], NoRoom::Wait),
    }
}
