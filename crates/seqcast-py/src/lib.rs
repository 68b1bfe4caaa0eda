//! `seqcast._seqcast`, the extension module of the Python package `seqcast`.
//!
//! It reads by pulling ([`seqcast::Subscriber`]) and keeps no Python object that could lead back to it: handlers, local
//! values and the progress of a poll belong to Python, whose garbage collector sees them. No call waits while it holds
//! the interpreter, and no Python code runs inside a call that holds a seat.

mod argument;
mod bus;
mod claim;
mod delivery;
mod died;
mod doorbell;
mod error;
mod inspect;
mod options;
mod poll;
mod seat;

use pyo3::prelude::*;

/// The extension module of the package `seqcast`. Use the package: names and arguments here may change.
#[pymodule]
mod _seqcast {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::{unraisable, version};
    #[pymodule_export]
    use crate::bus::{Bus, open, unlink, unlink_unheld};
    #[pymodule_export]
    use crate::delivery::{Event, Retained};
    #[pymodule_export]
    use crate::died::parse_died;
    #[pymodule_export]
    use crate::inspect::{Inspector, Tail, names};
    #[pymodule_export]
    use crate::options::{BusOptions, SeatOptions};
    #[pymodule_export]
    use crate::seat::{Seat, exiting, forked};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("ALL_ERRORS", crate::error::all_kinds())
    }
}

/// Returns the version of the library.
#[pyfunction]
fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Passes an exception that `origin` could not raise to `sys.unraisablehook`.
#[pyfunction]
fn unraisable(exception: Bound<'_, PyAny>, origin: Bound<'_, PyAny>) {
    let py = exception.py();
    PyErr::from_value(exception).write_unraisable(py, Some(&origin));
}
