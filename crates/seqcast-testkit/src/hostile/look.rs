//! Inspects a segment from outside, as the command `seqcast` does: mapped read-only, without a seat.

use seqcast::Start;
use seqcast::inspect::{ClaimKind, Inspector, Listed, Seen, UniqueState};

use super::attack::assert_plain;

/// More events than any ring of these tests holds, including gaps.
const MOST_SEEN: usize = 10_000;

/// Calls every method of the inspector.
///
/// # Panics
///
/// If a property fails that must hold for any bytes of the segment.
pub fn look(name: &str) {
    if let Err(error) = try_look(name) {
        assert_plain(&error);
    }
}

fn try_look(name: &str) -> seqcast::Result<()> {
    let _ = Listed::named(name)?;
    let inspector = Inspector::open_any(name)?;
    let (header, sizes, regions) = (inspector.header(), inspector.sizes(), inspector.regions());
    assert!(regions.iter().all(|region| region.offset + region.bytes() <= sizes.size), "{regions:?}");
    std::hint::black_box((header, inspector.faults(), inspector.next_id(), inspector.is_current()?));
    let mut first = inspector.stats().map(drop).err();
    for result in [
        inspector.claims().map(|claims| std::hint::black_box(format!("{claims:?}"))).map(drop),
        inspector.claim_on(ClaimKind::Alone, b"held").map(drop),
        inspector.relay().map(|relay| {
            assert!(relay.origins.len() as u64 <= relay.hosts, "{relay:?}");
            std::hint::black_box(format!("{relay:?}"));
        }),
        inspector.must_readers().map(|readers| {
            let most = std::time::Duration::from_secs(3600);
            assert!(readers.iter().all(|reader| reader.patience <= most && (reader.alive || !reader.holds_up)));
            std::hint::black_box(format!("{readers:?}"));
        }),
        retained(&inspector),
        inspector.claim_on(ClaimKind::Event, b"job").map(drop),
        tail(&inspector, Start::Oldest, true),
        tail(&inspector, Start::At(0), false),
        tail(&inspector, Start::Now, true),
    ] {
        first = first.or(result.err());
    }
    first.map_or(Ok(()), Err)
}

fn retained(inspector: &Inspector) -> seqcast::Result<()> {
    let sizes = inspector.sizes();
    if sizes.retained_keys == 0 {
        return Ok(());
    }
    for event in inspector.retained()? {
        assert!(event.bytes().len() as u64 <= sizes.retained_size && event.key().len() <= 255, "{event:?}");
    }
    Ok(())
}

fn tail(inspector: &Inspector, start: Start, payloads: bool) -> seqcast::Result<()> {
    let mut tail = inspector.tail(start)?.payloads(payloads).patience(std::time::Duration::ZERO);
    let largest = inspector.sizes().largest_event;
    let mut before = tail.next_id();
    for _ in 0..MOST_SEEN {
        let Some(seen) = tail.try_next()? else { return Ok(()) };
        assert!(tail.next_id() > before, "it stands still at {before}");
        before = tail.next_id();
        let Seen::Event(event) = seen else { continue };
        assert!(event.len <= largest && !event.source.is_empty() && !event.event.is_empty(), "{event:?}");
        assert_eq!(event.payload.as_ref().map(|payload| payload.len() as u64), payloads.then_some(event.len));
        if let Some(unique) = event.unique
            && let UniqueState::Decided(entry) = unique.state
        {
            assert_eq!(entry.key, unique.key);
        }
    }
    Ok(())
}
