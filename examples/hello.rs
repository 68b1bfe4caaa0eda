//! Two workers on one bus hear each other.

use seqcast::{Bus, Event, Options, Scope};

fn main() -> seqcast::Result<()> {
    let name = format!("seqcast-hello-{}", std::process::id());
    let bus = Bus::create(&name, &Options::new().unlink_on_drop(true))?;
    let (a, b) = (bus.join()?, bus.join()?);
    b.on(Scope::source("cache"), |event: &Event<'_>| {
        println!("b: {}/{} {:?}", event.source(), event.event(), String::from_utf8_lossy(event.bytes()));
    })?;
    a.post("cache", "invalidate", "user:42")?;
    let polled = b.poll()?;
    println!("{polled:?}");
    Ok(())
}
