//! Errors, as exceptions of the package.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;
use seqcast::{Cause, Error, ErrorKind};

/// The function that makes an exception: `seqcast._errors.make`.
static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The code and number of every error of the library.
pub(crate) fn all_kinds() -> Vec<(&'static str, u16)> {
    ErrorKind::ALL.iter().map(|kind| (kind.code(), kind.number())).collect()
}

/// Returns the exception for `error`.
#[cold]
pub(crate) fn exception(py: Python<'_>, error: &Error) -> PyErr {
    let errno = match error.cause() {
        Cause::System { source, .. } => source.raw_os_error(),
        _ => None,
    };
    let details = match details(py, error) {
        Ok(details) => details,
        Err(failed) => return failed,
    };
    let make = MAKE.get_or_try_init(py, || Ok(py.import("seqcast._errors")?.getattr("make")?.unbind()));
    let made = make.and_then(|make| {
        make.bind(py)
            .call1((error.code(), error.kind().number(), error.to_string(), errno, details))
            .map(PyErr::from_value)
    });
    made.unwrap_or_else(|failed| failed)
}

/// Returns the values of an error that are attributes of its exception.
fn details<'py>(py: Python<'py>, error: &Error) -> PyResult<Option<Bound<'py, PyDict>>> {
    let Cause::Full { reader, own, lag, patience, .. } = error.cause() else { return Ok(None) };
    let dict = PyDict::new(py);
    dict.set_item("seat", reader.seat)?;
    dict.set_item("pid", reader.pid)?;
    dict.set_item("label", &reader.label)?;
    dict.set_item("lag", *lag)?;
    dict.set_item("patience", patience.as_secs_f64())?;
    dict.set_item("is_own", *own)?;
    Ok(Some(dict))
}

/// The reason why a call failed. It is not an exception yet, because making one runs Python code.
pub(crate) enum Failure {
    Library(Error),
    Python(PyErr),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Library(error)
    }
}

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Failure {
        Failure::Python(error)
    }
}

impl From<Cause> for Failure {
    fn from(cause: Cause) -> Failure {
        Failure::Library(cause.into())
    }
}

impl Failure {
    #[cold]
    pub(crate) fn exception(self, py: Python<'_>) -> PyErr {
        match self {
            Failure::Library(error) => exception(py, &error),
            Failure::Python(error) => error,
        }
    }
}

/// Converts results of the library into results of a Python function.
pub(crate) trait OrRaise<T> {
    /// Returns the value, or the exception for the error.
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> OrRaise<T> for seqcast::Result<T> {
    #[inline]
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| exception(py, &error))
    }
}
