//! Typed events, a poller in the background, and options changed while it runs: `cargo run --example typed`

use std::sync::mpsc;
use std::time::Duration;

use rkyv::{Archive, Serialize};
use seqcast::{SegmentOptions, Topic, Typed, TypedEvent, WorkerOptions};

/// A value with fields. `post` archives it; its handlers read it in place, after validation.
#[derive(Archive, Serialize)]
struct UpstreamDown {
    ip: [u8; 4],
    port: u16,
    reason: String,
}

impl TypedEvent for UpstreamDown {
    const TOPIC: Topic<'static> = Topic::new("health", "down");
    // Raise it with every change of the fields. Workers of an older build then report such an event instead of
    // misreading it.
    const VERSION: u32 = 1;
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // An anonymous segment is for forked children; here two workers share one process.
    let bus = SegmentOptions::new().anonymous()?;
    let checker = bus.join()?;
    let proxy = bus.join_with(&WorkerOptions::new().label("proxy").interval(Duration::from_secs(5)))?;

    let (handled, wait) = mpsc::channel();
    proxy.on_typed(move |down: Typed<'_, UpstreamDown>| {
        let [a, b, c, d] = down.ip;
        println!("proxy: event {:?}: {a}.{b}.{c}.{d}:{} is down: {}", down.event().id(), down.port, down.reason);
        // A handler may fail. The failure is reported, and the other handlers still run.
        handled.send(())
    })?;

    // A thread that calls the handlers as soon as an event is posted. Without one, call `proxy.poll()` regularly.
    let poller = proxy.start_poller()?;
    checker.post(
        UpstreamDown::TOPIC,
        &UpstreamDown { ip: [10, 0, 0, 7], port: 8080, reason: "no answer in 2 s".to_owned() },
    )?;
    wait.recv_timeout(Duration::from_secs(5))?;

    // All options except the start position can be changed at any time.
    proxy.reconfigure(|options| options.interval(Duration::from_millis(100)))?;
    checker.post(
        UpstreamDown::TOPIC,
        &UpstreamDown { ip: [10, 0, 0, 9], port: 8080, reason: "connection refused".to_owned() },
    )?;
    wait.recv_timeout(Duration::from_secs(5))?;

    // Bytes under the same names do not reach a typed handler. The worker reports them, here on standard error.
    checker.post(UpstreamDown::TOPIC, "10.0.0.11:8080")?;
    poller.stop()?;
    println!("proxy: {:?}", proxy.poll()?);
    Ok(())
}
