//! Figures by name.

use std::ffi::{CString, c_char, c_int};
use std::ptr;

use seqcast::{Cause, Error, Stats};

use crate::argument::{copy_text, place, text};
use crate::bus::{BUSES, seqcast_bus};
use crate::failure::{Failure, Result, call};
use crate::handle::{Kind, Table};

/// A snapshot of a segment's figures. Row 0 is the segment. Each further row is a live worker, or a dead worker whose
/// seat was not taken again.
pub struct seqcast_stats(());

pub(crate) static STATS: Table<Snapshot> = Table::new(Kind::Stats);

pub(crate) struct Snapshot {
    rows: Vec<Row>,
}

struct Row {
    label: String,
    figures: Vec<(CString, u64)>,
}

impl Row {
    fn new(label: &str, figures: impl Iterator<Item = (&'static str, u64)>) -> Row {
        let figures = figures.filter_map(|(name, value)| Some((CString::new(name).ok()?, value))).collect();
        Row { label: label.to_owned(), figures }
    }
}

impl Snapshot {
    pub(crate) fn of(stats: &Stats) -> Snapshot {
        let segment = Row::new(&stats.name, stats.figures());
        let workers = stats.workers.iter().map(|worker| Row::new(&worker.label, worker.figures()));
        Snapshot { rows: std::iter::once(segment).chain(workers).collect() }
    }

    fn row(&self, row: usize) -> Result<&Row> {
        self.rows.get(row).ok_or_else(|| self.no_row(row))
    }

    #[cold]
    fn no_row(&self, row: usize) -> Failure {
        let (value, rule) = (row.to_string(), format!("it must be less than {}, the number of rows", self.rows.len()));
        Error::from(Cause::Option { option: "row", value, rule }).into()
    }
}

/// Stores a snapshot of the bus's figures. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_bus_stats(bus: *const seqcast_bus, out: *mut *mut seqcast_stats) -> c_int {
    // SAFETY: as the caller promises.
    call(|| unsafe { keep(out, || BUSES.share(bus, |bus| Ok(bus.stats()?))) })
}

/// Stores the handle of a snapshot in `out`.
///
/// # Safety
///
/// `out` is as [`place`] requires.
pub(crate) unsafe fn keep(out: *mut *mut seqcast_stats, make: impl FnOnce() -> Result<Stats>) -> Result<c_int> {
    // SAFETY: as the caller promises.
    let out = unsafe { place(out, "out") }?;
    *out = ptr::null_mut();
    *out = STATS.insert(Snapshot::of(&make()?))?;
    Ok(0)
}

/// Frees a snapshot. Returns 0, also for null.
#[unsafe(no_mangle)]
pub extern "C" fn seqcast_stats_free(stats: *mut seqcast_stats) -> c_int {
    call(|| STATS.remove(stats))
}

/// Returns the number of rows: 1 for the segment, and 1 for each worker.
#[unsafe(no_mangle)]
pub extern "C" fn seqcast_stats_rows(stats: *const seqcast_stats) -> c_int {
    let rows = |stats: &Snapshot| Ok(c_int::try_from(stats.rows.len()).unwrap_or(c_int::MAX));
    call(|| STATS.share(stats, rows))
}

/// Copies the worker's label or, for row 0, the segment's name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_stats_label(
    stats: *const seqcast_stats,
    row: usize,
    buffer: *mut c_char,
    capacity: usize,
) -> c_int {
    // SAFETY: as the caller promises.
    call(|| STATS.share(stats, |stats| unsafe { copy_text(&stats.row(row)?.label, buffer, capacity) }))
}

/// Stores the figure `name` of a row, such as `next_id` of row 0 or `posted` of a worker. Returns 1. Returns 0 if the
/// row has no such figure: the name is unknown, or there is no value, such as the `cursor` of a seat that only posts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_stats_get(
    stats: *const seqcast_stats,
    row: usize,
    name: *const c_char,
    name_len: usize,
    value: *mut u64,
) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        let (value, name) = unsafe { (place(value, "value")?, text(name, name_len, "name")?) };
        STATS.share(stats, |stats| {
            let found = stats.row(row)?.figures.iter().find(|(figure, _)| figure.as_bytes() == name.as_bytes());
            Ok(found.map_or(0, |&(_, figure)| {
                *value = figure;
                1
            }))
        })
    })
}

/// Stores the name and the value of figure `index` of a row, counted from 0. The name ends with a zero and is valid
/// until the snapshot is freed. Names of times end in `_ns`. Returns 1, or 0 if there are no more figures.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_stats_at(
    stats: *const seqcast_stats,
    row: usize,
    index: usize,
    name: *mut *const c_char,
    value: *mut u64,
) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        let (name, value) = unsafe { (place(name, "name")?, place(value, "value")?) };
        STATS.share(stats, |stats| {
            let found = stats.row(row)?.figures.get(index);
            Ok(found.map_or(0, |(figure, number)| {
                *name = figure.as_ptr();
                *value = *number;
                1
            }))
        })
    })
}
