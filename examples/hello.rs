//! Two workers on one bus: `cargo run --example hello`

use seqcast::{Scope, SegmentOptions};

fn main() -> seqcast::Result<()> {
    // Other processes would open it by its name. Dropping `bus` unlinks the name.
    let name = format!("seqcast-hello-{}", std::process::id());
    let bus = SegmentOptions::new().unlink_on_drop(true).create(&name)?;

    // Usually each process has one worker; here one process has two.
    let (a, b) = (bus.join()?, bus.join()?);
    for (label, worker) in [("a", &a), ("b", &b)] {
        worker.on(Scope::source("cache"), move |event| {
            let (id, text) = (event.id(), String::from_utf8_lossy(event.bytes()));
            println!("{label}: event {id:?}: {}/{} {text:?}", event.source(), event.event());
        })?;
    }

    // All workers get both events in the same order, including the sender, when they poll.
    a.post(("cache", "invalidate"), "user:42")?;
    b.post(("cache", "invalidate"), "user:43")?;
    println!("a: {:?}", a.poll()?);
    println!("b: {:?}", b.poll()?);
    Ok(())
}
