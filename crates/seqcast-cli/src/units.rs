//! Text forms of numbers and times.

use std::time::{Duration, SystemTime};

use jiff::fmt::friendly::SpanParser;
use jiff::{SpanRelativeTo, Timestamp};

/// Parses `10m`, `1h30m`, `500ms`: jiff's friendly format, with days of 24 hours.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let rule = |_| "it must look like 500ms, 10s, 5m, 1h30m or 2d".to_owned();
    let span = SpanParser::new().parse_span(text.trim()).map_err(rule)?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(rule)?;
    match Duration::try_from(duration) {
        Ok(Duration::ZERO) | Err(_) => Err("it must be greater than zero".to_owned()),
        Ok(duration) => Ok(duration),
    }
}

/// At most four characters for up to 999 days: `0.3s`, `4.2s`, `59s`, `12m`, `3h`, `5d`.
pub fn short_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 if duration.as_millis() < 1 => "0s".into(),
        0 => format!("{:.1}s", (duration.as_secs_f64()).max(0.1)),
        1..10 => format!("{:.1}s", (duration.as_secs_f64() * 10.0).floor() / 10.0),
        10..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// With two units: `9m59s`, `1h05m`, `2d03h`.
pub fn long_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{}ms", duration.as_millis()),
        1..10 => format!("{:.1}s", (duration.as_secs_f64() * 10.0).floor() / 10.0),
        10..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// A count in at most five characters: `99999`, `123k`, `4.5M`.
pub fn short_count(count: u64) -> String {
    match count {
        0..100_000 => count.to_string(),
        _ => scaled(count as f64, 1000.0, &["", "k", "M", "G", "T", "P", "E"]),
    }
}

/// A rate in at most five characters.
pub fn short_rate(per_second: f64) -> String {
    match per_second {
        0.0 => "0".into(),
        ..9.95 => format!("{per_second:.1}"),
        _ => short_count(per_second.round() as u64),
    }
}

/// The rate per second of `count` in `time`.
pub fn per_second(count: u64, time: Duration) -> f64 {
    // At least the shortest interval that can be requested: shorter ones say nothing.
    count as f64 / time.max(Duration::from_millis(1)).as_secs_f64()
}

/// Bytes: `5.3 MiB`.
pub fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        _ => scaled(count as f64, 1024.0, &["", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"]),
    }
}

fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    // A value that would round up to the step belongs to the next unit; there are units for all 64-bit values.
    while value >= step - 0.5 {
        value /= step;
        unit += 1;
    }
    if value < 9.95 { format!("{value:.1}{}", units[unit]) } else { format!("{value:.0}{}", units[unit]) }
}

/// With a comma between groups of three digits: `1,234,567`.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 worker`, `2 workers`.
pub fn count_of(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A point in time in UTC as RFC 3339, to the millisecond: `2026-11-23T06:52:48.123Z`.
pub fn rfc3339(time: SystemTime) -> String {
    // A segment may contain any time. Times beyond the year 9999 have no such text.
    Timestamp::try_from(time).map_or_else(|_| "-".to_owned(), |time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, ms) in [
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("2d", 172_800_000),
            ("1m1ms", 60_001),
            ("1.5s", 1500),
            (" 1h ", 3_600_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "10", "m", "-1s", "0s", "1mo", "1s 2", "99999999999999999999s", "999999999999d", "1s ago"] {
            assert!(parse_duration(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn columns_are_not_burst() {
        for count in (0..64).map(|bit| (1_u64 << bit) - 1).chain([999_500, 99_999, 100_000, 9_949_999, u64::MAX]) {
            assert!(short_count(count).len() <= 5, "{}", short_count(count));
            assert!(short_rate(count as f64).len() <= 5, "{}", short_rate(count as f64));
        }
        for ms in (0..37).map(|bit| (1_u64 << bit) - 1) {
            let text = short_duration(Duration::from_millis(ms));
            assert!(text.len() <= 4, "{text}");
        }
        assert_eq!(short_rate(9.96), "10");
        assert_eq!(short_rate(0.0), "0");
        assert_eq!(short_rate(0.04), "0.0");
        assert_eq!(short_count(99_999), "99999");
        assert_eq!(short_count(999_999), "1.0M");
        assert_eq!(bytes(5_580_000), "5.3 MiB");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!((short_count(u64::MAX).as_str(), bytes(u64::MAX).as_str()), ("18E", "16 EiB"));
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(12), "12");
    }

    #[test]
    fn times_are_shown_in_the_unit_that_fits() {
        let (second, minute, hour, day) = (1_000, 60_000, 3_600_000, 86_400_000);
        for (ms, short, long) in [
            (0, "0s", "0ms"),
            (1, "0.1s", "1ms"),
            (320, "0.3s", "320ms"),
            (4 * second + 290, "4.2s", "4.2s"),
            (9 * second + 999, "9.9s", "9.9s"),
            (10 * second, "10s", "10s"),
            (minute - 1, "59s", "59s"),
            (10 * minute - second, "9m", "9m59s"),
            (hour + 5 * minute, "1h", "1h05m"),
            (2 * day + 3 * hour, "2d", "2d03h"),
        ] {
            let time = Duration::from_millis(ms);
            assert_eq!((short_duration(time).as_str(), long_duration(time).as_str()), (short, long), "{ms} ms");
        }
        assert_eq!(short_duration(Duration::from_micros(999)), "0s");
    }

    #[test]
    fn rates_are_of_the_time_that_went_by() {
        assert_eq!(per_second(30, Duration::from_secs(10)), 3.0);
        assert_eq!(per_second(30, Duration::from_millis(100)), 300.0);
        assert_eq!(per_second(1, Duration::ZERO), 1000.0);
    }

    #[test]
    fn days_are_counted_as_the_calendar_does() {
        let at = |seconds| rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_399), "2000-02-28T23:59:59.000Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00.000Z");
        let last = SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::MAX);
        assert_eq!(rfc3339(last), "2554-07-21T23:34:33.709Z");
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40)), "-");
    }
}
