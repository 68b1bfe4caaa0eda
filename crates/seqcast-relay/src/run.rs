//! A relay of one segment: its three threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use seqcast::relay::Relay;
use seqcast::{Bus, Result};
use sha1_smol::Sha1;

use crate::context::{Context, End};
use crate::down::Receiver;
use crate::engine::Engine;
use crate::queue::Queue;
use crate::ring::Ring;
use crate::spool::Spool;
use crate::up::{Sender, registration};

/// Carries events between the segment and the engine until [`Context::stop`], or until it cannot go on.
///
/// `each` is called from time to time, at least every 100 ms.
pub fn run(bus: &Bus, relay: Relay, engine: &dyn Engine, context: &Context, mut each: impl FnMut()) -> End {
    let (mut reader, poster) = relay.split();
    // What was posted before the first relay does not travel. What was posted since does, also if that relay was killed
    // before it had reached the engine.
    let begin = reader.resume_at();
    let acknowledged = reader.sent().map(|_| begin);
    if let Err(error) = reader.seek(begin) {
        return End::Segment(error);
    }
    let origin = reader.origin().bits();
    let queue = Queue::new(Spool::new(origin, begin, acknowledged, context.options.spool_bytes));
    queue.add(&mut Vec::new(), begin, reader.oldest());
    let advance = poster.capacity() / 8;
    let who = registration(origin, &context.options.host);
    thread::scope(|threads| {
        threads.spawn(|| guarded(context, || Ring::new(reader, &queue, context).run()));
        threads.spawn(|| {
            guarded(context, || {
                Sender { context, queue: &queue, engine, who, advance }.run();
                Ok(())
            });
            queue.end_sending();
        });
        threads.spawn(|| guarded(context, || Receiver::new(poster, engine, &queue, context).run()));
        while !context.wait(Duration::from_millis(100)) {
            each();
            if !bus.is_current().unwrap_or(true) {
                context.end_with(End::Replaced);
            }
        }
    });
    context.take_end()
}

/// Ends the relay if a thread fails or panics: half a relay would look alive.
fn guarded(context: &Context, work: impl FnOnce() -> Result<()>) {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => context.end_with(End::Segment(error)),
        Err(_) => context.end_with(End::Panicked),
    }
}

/// The key under which keys of unique events are hashed: from the stream's name and, if there is one, a secret that all
/// relays share. Without the secret, any program that knows the name can find a key by trying.
pub fn cluster_key(stream: &str, secret: Option<&str>) -> [u8; 16] {
    let mut sha1 = Sha1::new();
    for part in ["seqcast-relay", stream, secret.unwrap_or("")] {
        sha1.update(&(part.len() as u64).to_le_bytes());
        sha1.update(part.as_bytes());
    }
    let mut key = [0; 16];
    key.copy_from_slice(&sha1.digest().bytes()[..16]);
    key
}
