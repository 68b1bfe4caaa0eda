//! An event of one bus, to be posted on another.

use super::payload::{Encode, Put, agree_on_format};
use super::{Buffer, Data, Event, LocalData, Topic};
use crate::error::{Cause, Error, Result};
use crate::sync::AtomicU64;

/// The payload of an event that is posted again.
pub(crate) struct Forwarded<'a> {
    type_tag: u64,
    /// The format of the typed values of the event's bus, 0 if it plays no part.
    format: u64,
    bytes: &'a [u8],
    key: Option<[u8; 16]>,
}

impl<'a> Forwarded<'a> {
    pub(crate) fn of(event: &Event<'a>) -> Result<Forwarded<'a>> {
        if matches!(event.data(), Data::Visited) {
            let rule = "an event whose payload is visited in place has no payload here: forward it from `on`";
            return Err(Error::option("event", event.topic(), rule));
        }
        let Data::Bytes { type_tag, format, bytes } = event.data() else {
            let rule = "a value that was posted to one worker only has no bytes: post what stands for it";
            return Err(Error::option("event", event.topic(), rule));
        };
        if event.is_cleared() {
            let rule = "an event that clears what is retained is not forwarded: clear it on the other bus";
            return Err(Error::option("event", event.topic(), rule));
        }
        let key = event.claim().map(|claim| {
            let [first, second] = claim.key.map(u64::to_le_bytes);
            std::array::from_fn(|at| if at < 8 { first[at] } else { second[at - 8] })
        });
        Ok(Forwarded { type_tag, format, bytes, key })
    }

    /// The key under which the event is unique on the other bus: what its own bus knows of its key.
    pub(crate) fn key(&self) -> Option<[u8; 16]> {
        self.key
    }
}

impl Encode for Forwarded<'_> {
    #[inline]
    fn encode<'b>(
        &'b self,
        _topic: Topic<'_>,
        _buffer: &'b mut Buffer,
        _long: Option<&mut dyn Put>,
    ) -> Result<(u64, &'b [u8])> {
        Ok((self.type_tag, self.bytes))
    }

    /// The values have the format of the bus that they were read on.
    fn check_format(&self, bus: &AtomicU64) -> Result<()> {
        if self.format == 0 {
            return Ok(());
        }
        agree_on_format(bus, self.format).map_err(|found| {
            let type_name = "(of a forwarded event)";
            Error::from(Cause::TypedFormat { type_name, found, expected: self.format })
        })
    }

    fn into_local(self, _topic: Topic<'_>) -> Result<LocalData> {
        let mut bytes = Buffer::with_capacity(self.bytes.len());
        bytes.extend_from_slice(self.bytes);
        Ok(LocalData::Archived { type_tag: self.type_tag, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Ordering;

    #[test]
    fn typed_values_of_two_formats_do_not_meet() {
        let forwarded = |format| Forwarded { type_tag: 7, format, bytes: b"", key: None };
        let bus = AtomicU64::new(0);
        forwarded(0).check_format(&bus).unwrap();
        assert_eq!(bus.load(Ordering::Relaxed), 0, "bytes have no format");
        forwarded(3).check_format(&bus).unwrap();
        assert_eq!(bus.load(Ordering::Relaxed), 3, "the other bus must know the format of what comes");
        forwarded(3).check_format(&bus).unwrap();
        let refused = forwarded(4).check_format(&bus).unwrap_err();
        assert!(matches!(refused.cause(), Cause::TypedFormat { found: 3, expected: 4, .. }), "{refused:?}");
        assert_eq!(bus.load(Ordering::Relaxed), 3);
    }
}
