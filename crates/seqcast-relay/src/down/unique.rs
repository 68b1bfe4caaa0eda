//! What is done for unique events besides posting them: waiting for replicas, and deciding alone.

use std::time::{Duration, Instant};

use seqcast::{ClusterId, ErrorKind, Origin};

use super::{Receiver, Stop, foreign, refusal};
use crate::batch::{Batch, Item};
use crate::context::{UniqueOffline, Way};
use crate::engine::Down;

/// The longest wait for the replicas.
const REPLICAS: Duration = Duration::from_millis(100);
/// An event that this host decides alone has no place.
const NOWHERE: ClusterId = ClusterId { timeline: 0, n: 0 };

impl Receiver<'_> {
    /// Returns `true` if so many replicas as were asked for have the claim of the unique event that is to be posted.
    pub(super) fn is_safe(&mut self, origin: Origin, id: u64, down: &mut dyn Down) -> Result<bool, Stop> {
        let least = self.context.options.claim_replicas;
        // One that was posted before is posted no more, whatever the replicas have.
        if least == 0 || self.poster.seen(origin).is_some_and(|seen| id <= seen) {
            return Ok(true);
        }
        let have = down.replicated(least, REPLICAS)?;
        if have < u64::from(least) {
            self.context.metrics.claims("unreplicated", 1);
            self.context.log.trouble(
                "unreplicated",
                format_args!(
                    "unique event {id} is told as missed: {have} replicas have its claim, fewer than --claim-replicas \
                     {least}"
                ),
            );
        }
        Ok(have >= u64::from(least))
    }

    /// If the engine cannot be reached, and the operator wants it so: decides about unique events that have waited for
    /// long enough.
    pub(super) fn decide_alone(&mut self) -> seqcast::Result<()> {
        let options = &self.context.options;
        if options.unique_offline != UniqueOffline::Local || !self.context.is_away(Way::Up) {
            return Ok(());
        }
        let (poster, own) = (&mut self.poster, self.own);
        let mut decided = 0;
        // The sender cannot send an event while it is decided here.
        let done = self.queue.with_spool(|spool| {
            spool.decide_alone(Instant::now(), options.unique_patience, |body, claim| {
                let batch = Batch::parse(body).map(|batch| batch.items);
                let Some(Item::Event(event)) = batch.as_deref().ok().and_then(<[_]>::first) else { return Ok(false) };
                match poster.post_alone(&foreign(own, NOWHERE, event), claim.key) {
                    Ok(_) => decided += 1,
                    // It is told when it comes back from the server.
                    Err(error) if error.kind() != ErrorKind::Full && refusal(&error).is_some() => return Ok(false),
                    Err(error) => return Err(error),
                }
                Ok(true)
            })
        });
        if decided > 0 {
            self.context.metrics.claims("alone", decided);
            self.context.log.trouble(
                "alone",
                format_args!("{decided} unique events were decided by this host alone, without the server"),
            );
        }
        match done {
            // Later, with those behind it.
            Err(error) if error.kind() == ErrorKind::Full => Ok(()),
            done => done,
        }
    }
}
