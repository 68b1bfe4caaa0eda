//! The news that a seat was taken over from a process that has died.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use seqcast::Died;

/// Returns the arguments of `Died` for a payload of `seqcast/died`; `None` for other payloads.
#[pyfunction]
#[pyo3(signature = (data, /))]
pub(crate) fn parse_died<'py>(py: Python<'py>, data: &[u8]) -> PyResult<Option<Bound<'py, PyDict>>> {
    let Some(died) = Died::parse(data) else { return Ok(None) };
    let dict = PyDict::new(py);
    dict.set_item("seat", died.seat)?;
    dict.set_item("pid", died.pid)?;
    dict.set_item("label", &died.label)?;
    dict.set_item("reserved", died.reserved)?;
    dict.set_item("claims", died.claims)?;
    dict.set_item("keys", PyTuple::new(py, died.keys.iter().map(ToString::to_string))?)?;
    Ok(Some(dict))
}
