//! Two workers on one bus hear each other: `cargo run --example hello`

use seqcast::{Scope, SegmentOptions};

fn main() -> seqcast::Result<()> {
    // Other processes would open it by its name. The name is gone when `bus` is dropped.
    let name = format!("seqcast-hello-{}", std::process::id());
    let bus = SegmentOptions::new().unlink_on_drop(true).create(&name)?;

    // As a rule each process has one worker; here one process has two.
    let (a, b) = (bus.join()?, bus.join()?);
    for (who, worker) in [("a", &a), ("b", &b)] {
        worker.on(Scope::source("cache"), move |event| {
            let (id, text) = (event.id(), String::from_utf8_lossy(event.bytes()));
            println!("{who}: event {id:?}: {}/{} {text:?}", event.source(), event.event());
        })?;
    }

    // All hear it, in the same order, the sender too; each when it polls.
    a.post(("cache", "invalidate"), "user:42")?;
    b.post(("cache", "invalidate"), "user:43")?;
    println!("a: {:?}", a.poll()?);
    println!("b: {:?}", b.poll()?);
    Ok(())
}
