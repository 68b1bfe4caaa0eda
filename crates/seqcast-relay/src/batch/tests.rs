use proptest::prelude::*;

use super::*;

fn bytes_of(origin: u64, items: &[Item<'_>]) -> Vec<u8> {
    let mut bytes = head(origin, items.len()).to_vec();
    for item in items {
        encode(item, &mut bytes);
    }
    bytes
}

fn event(id: u64) -> Event<'static> {
    let (source, event, bytes) = ("cache", "stale", &b"user:42"[..]);
    Event { id, kind: Kind::Spread, source, event, type_tag: 0, format: 0, unique: None, kept: None, bytes }
}

/// What an item has besides its id.
#[derive(Clone, Debug)]
struct Parts {
    choice: u8,
    source: String,
    event: String,
    key: Vec<u8>,
    bytes: Vec<u8>,
    type_tag: u64,
    ttl: u32,
}

fn parts() -> impl Strategy<Value = Parts> {
    let name = "[a-zé]{1,40}";
    (0u8..7, name, name, prop::collection::vec(any::<u8>(), 0..20), any::<Vec<u8>>(), any::<u64>(), 1u32..).prop_map(
        |(choice, source, event, key, bytes, type_tag, ttl)| Parts { choice, source, event, key, bytes, type_tag, ttl },
    )
}

fn item(id: u64, parts: &Parts) -> Item<'_> {
    let Parts { choice, source, event, key, bytes, type_tag, ttl } = parts;
    let kind = if matches!(choice, 0) { Kind::Spread } else { Kind::Ordered };
    let ttl = Duration::from_millis(u64::from(*ttl));
    let format = if *type_tag == 0 { 0 } else { 77 };
    let plain = Event { id, kind, source, event, type_tag: *type_tag, format, unique: None, kept: None, bytes };
    match choice {
        2 => Item::Event(Event { unique: Some(ttl), ..plain }),
        3 => Item::Event(Event { kept: Some(Kept { key, ttl: Some(ttl), clears: false }), ..plain }),
        4 => Item::Event(Event { kept: Some(Kept { key, ttl: None, clears: true }), ..plain }),
        5 => Item::Gap { id, count: Some(*type_tag), reason: Reason::OriginLapped },
        6 => Item::Gap { id, count: None, reason: Reason::TooLarge },
        _ => Item::Event(plain),
    }
}

proptest! {
    #[test]
    fn r10_a_batch_is_read_as_it_was_written_and_no_part_of_it_is_one(
        origin: u64, list in prop::collection::vec((parts(), 1u64..1000), 1..20), cut: prop::sample::Index,
    ) {
        let mut id = 0;
        let mut items = Vec::new();
        for (parts, step) in list.iter().filter(|(parts, _)| !matches!(parts.choice, 2..=4) || list.len() == 1) {
            id += step;
            items.push(item(id, parts));
        }
        prop_assume!(!items.is_empty());
        let bytes = bytes_of(origin, &items);
        let batch = Batch::parse(&bytes).unwrap();
        prop_assert_eq!((batch.origin, batch.last()), (origin, id));
        prop_assert_eq!(batch.items, items);
        prop_assert!(Batch::parse(&bytes[..cut.index(bytes.len())]).is_err());
        prop_assert_eq!(Batch::parse(&[&bytes[..], &[0]].concat()).unwrap_err(), BatchError::Long(1));
    }

    /// What is accepted is exactly what would be written, so nothing is guessed.
    #[test]
    fn r10_any_bytes_are_refused_or_are_what_would_be_written(
        parts in parts(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = bytes_of(1, &[item(3, &parts)]);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(batch) = Batch::parse(&bytes) {
            prop_assert_eq!(bytes_of(batch.origin, &batch.items), bytes);
        }
    }

    #[test]
    fn r10_random_bytes_never_panic(mut bytes: Vec<u8>, version in 0u8..3) {
        if let Some(first) = bytes.first_mut() {
            *first = version;
        }
        if let Ok(batch) = Batch::parse(&bytes) {
            prop_assert_eq!(bytes_of(batch.origin, &batch.items), bytes);
        }
    }
}

#[test]
fn r10_a_length_that_is_not_there_is_refused_before_anything_is_allocated() {
    let mut bytes = bytes_of(1, &[Item::Event(event(3))]);
    bytes[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(Batch::parse(&bytes), Err(BatchError::Short(_))));
    let mut bytes = bytes_of(1, &[Item::Event(event(3))]);
    bytes[2..4].copy_from_slice(&u16::MAX.to_le_bytes());
    assert!(matches!(Batch::parse(&bytes), Err(BatchError::Field { name: "count", value: 65535, .. })));
}

#[test]
fn r10_another_version_ids_that_do_not_grow_and_a_unique_event_in_company_are_refused() {
    let mut bytes = bytes_of(1, &[Item::Event(event(3))]);
    bytes[0] = 2;
    assert_eq!(Batch::parse(&bytes).unwrap_err(), BatchError::Version(2));
    let twice = bytes_of(1, &[Item::Event(event(3)), Item::Event(event(3))]);
    assert_eq!(Batch::parse(&twice).unwrap_err(), BatchError::Order { id: 3, before: 3 });
    let unique = Event { kind: Kind::Ordered, unique: Some(Duration::from_secs(1)), ..event(4) };
    for items in [[Item::Event(event(3)), Item::Event(unique)], [Item::Event(unique), Item::Event(event(5))]] {
        assert!(matches!(Batch::parse(&bytes_of(1, &items)), Err(BatchError::Field { name: "count", .. })));
    }
    // A spread event is on its own host already, so nothing can be decided about it.
    for spread in [Event { kind: Kind::Spread, ..unique }, Event { kept: Some(Kept::default()), ..event(3) }] {
        let bytes = bytes_of(1, &[Item::Event(spread)]);
        assert!(matches!(Batch::parse(&bytes), Err(BatchError::Field { name: "kind", .. })));
    }
    let nameless = bytes_of(1, &[Item::Event(Event { source: "", ..event(3) })]);
    assert_eq!(Batch::parse(&nameless).unwrap_err(), BatchError::Name { at: 16 });
    for error in [BatchError::Version(2), BatchError::Name { at: 16 }, BatchError::Order { id: 3, before: 3 }] {
        assert!(!error.name().is_empty() && !error.to_string().is_empty());
    }
}

#[test]
fn no_debug_output_shows_a_payload_or_a_key() {
    let kept = Kept { key: b"canary-key", ttl: None, clears: false };
    let event = Event { kind: Kind::Ordered, kept: Some(kept), bytes: b"canary", ..event(3) };
    let bytes = bytes_of(1, &[Item::Event(event)]);
    let shown = format!("{:?}", Batch::parse(&bytes).unwrap());
    assert!(shown.contains("len: 6") && !shown.contains("99, 97, 110") && !shown.contains("canary"), "{shown}");
}
