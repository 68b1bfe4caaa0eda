//! Arguments: names, payloads, keys, times.

use std::borrow::Cow;
use std::time::Duration;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView, PyString};
use seqcast::Topic;

/// Returns a number of seconds as a time.
pub(crate) fn duration(seconds: f64, what: &str) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|_| {
        PyValueError::new_err(format!("{what} is {seconds}: it must be a number of seconds, and not negative"))
    })
}

/// Returns the bytes of a payload or of a key. Text is UTF-8.
pub(crate) fn bytes<'a>(value: &'a Bound<'_, PyAny>, what: &str) -> PyResult<Cow<'a, [u8]>> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(Cow::Borrowed(bytes.as_bytes()));
    }
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(match text.to_cow()? {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        });
    }
    // The buffer protocol is not in the stable interface of Python 3.9.
    if let Ok(array) = value.cast::<PyByteArray>() {
        return Ok(Cow::Owned(array.to_vec()));
    }
    if let Ok(view) = value.cast::<PyMemoryView>() {
        let bytes = view.call_method0("tobytes")?;
        return Ok(Cow::Owned(bytes.cast::<PyBytes>()?.as_bytes().to_vec()));
    }
    let kind = value.get_type().name()?;
    let remedy = if what == "data" { ", or pass a codec such as seqcast.JSON" } else { "" };
    Err(PyTypeError::new_err(format!("{what} must be bytes or str, not {kind}{remedy}")))
}

/// The names of the last event, so that the same objects are not converted again.
#[derive(Default)]
pub(crate) struct Names(Option<Last>);

struct Last {
    source: Py<PyString>,
    event: Py<PyString>,
    source_text: String,
    event_text: String,
}

impl Names {
    /// Returns the topic with the two names.
    #[inline]
    pub(crate) fn topic(&mut self, source: &Bound<'_, PyString>, event: &Bound<'_, PyString>) -> PyResult<Topic<'_>> {
        let is_last = |last: &Last| last.source.is(source) && last.event.is(event);
        if !self.0.as_ref().is_some_and(is_last) {
            self.0 = Some(Last {
                source_text: source.to_cow()?.into_owned(),
                event_text: event.to_cow()?.into_owned(),
                source: source.clone().unbind(),
                event: event.clone().unbind(),
            });
        }
        // The branch above has set it.
        let last = self.0.as_ref().ok_or_else(|| PyValueError::new_err("no names"))?;
        Ok(Topic::from((last.source_text.as_str(), last.event_text.as_str())))
    }

    /// Returns the names of an event that was read, as Python's strings.
    #[inline]
    pub(crate) fn strings(&mut self, py: Python<'_>, source: &str, event: &str) -> (Py<PyString>, Py<PyString>) {
        if let Some(last) = &self.0
            && last.source_text == source
            && last.event_text == event
        {
            return (last.source.clone_ref(py), last.event.clone_ref(py));
        }
        let strings = (PyString::new(py, source).unbind(), PyString::new(py, event).unbind());
        self.0 = Some(Last {
            source: strings.0.clone_ref(py),
            event: strings.1.clone_ref(py),
            source_text: source.to_owned(),
            event_text: event.to_owned(),
        });
        strings
    }
}
