//! Two segments and the bridge between them: see the chapter "Reload" of the front page.

mod carried;
mod ends;
#[cfg(target_arch = "x86_64")]
mod killed;
mod state;
mod unique;

use seqcast::{Bridge, Bus, SegmentOptions, Subscriber};
use seqcast_testkit::{Name, bus, quiet};

/// Two segments of different sizes.
struct Pair {
    old: Bus,
    new: Bus,
    names: [Name; 2],
}

impl Pair {
    fn new(options: &SegmentOptions) -> Pair {
        let (old_name, old) = bus(options);
        let (new_name, new) = bus(&options.clone().capacity(4 * options.get_capacity()).keys_of(&old));
        Pair { old, new, names: [old_name, new_name] }
    }

    fn bridge(&self) -> Bridge {
        self.old.bridge_to(&self.new).unwrap().expect("no other bridge lives")
    }

    fn buses(&self) -> [&Bus; 2] {
        [&self.old, &self.new]
    }

    fn subscribers(&self) -> [Subscriber; 2] {
        self.buses().map(|bus| bus.subscribe_with(&quiet()).unwrap())
    }
}

/// Carries until there is nothing more.
fn pump(bridge: &mut Bridge) {
    while bridge.arm().unwrap() {
        bridge.pump().unwrap();
    }
}

/// Returns the payloads of all new events, as text. There must be no other delivery.
fn texts(subscriber: &mut Subscriber) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(delivery) = subscriber.try_next().unwrap() {
        let event = delivery.event().unwrap_or_else(|| panic!("{delivery:?}"));
        texts.push(String::from_utf8(event.bytes().to_owned()).unwrap());
    }
    texts
}
