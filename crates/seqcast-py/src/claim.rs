//! The results of a claim and of a look-up of a key.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use seqcast::inspect::{ClaimEntry, ClaimKind};
use seqcast::{Claimed, HeldKey, Winner};

/// Returns a claim as a dict: with `token` if it was won; with `seat` and `left`, in seconds, if another seat holds the
/// key; empty if there is no room.
pub(crate) fn dict(py: Python<'_>, claimed: Claimed) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    match claimed {
        Claimed::Won(claim) => dict.set_item("token", PyBytes::new(py, &claim.to_bytes()))?,
        Claimed::Held { seat, left, .. } => {
            dict.set_item("seat", seat)?;
            dict.set_item("left", left.as_secs_f64())?;
        }
        _ => {}
    }
    Ok(dict)
}

fn winner(winner: Winner) -> &'static str {
    match winner {
        Winner::Alive => "alive",
        Winner::Dead => "dead",
        _ => "gone",
    }
}

/// Returns the arguments of `HeldClaim` for an entry of the list of claims.
pub(crate) fn entry_dict<'py>(py: Python<'py>, entry: &ClaimEntry) -> PyResult<Bound<'py, PyDict>> {
    let kind = match entry.kind {
        ClaimKind::Alone => "alone",
        ClaimKind::Event => "event",
        _ => "other",
    };
    let dict = PyDict::new(py);
    dict.set_item("key_hash", entry.key.to_string())?;
    dict.set_item("kind", kind)?;
    dict.set_item("seat", entry.seat)?;
    dict.set_item("winner", winner(entry.winner))?;
    dict.set_item("pid", entry.pid)?;
    dict.set_item("label", &entry.label)?;
    dict.set_item("since", entry.since.as_secs_f64())?;
    dict.set_item("left", entry.left.map(|left| left.as_secs_f64()))?;
    dict.set_item("ends_with_holder", entry.ends_with_holder)?;
    dict.set_item("decided", entry.decided)?;
    dict.set_item("token", PyBytes::new(py, &entry.claim().to_bytes()))?;
    Ok(dict)
}

/// Returns the arguments of `Held` for a key that is held.
pub(crate) fn held_dict<'py>(py: Python<'py>, held: &HeldKey) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("seat", held.seat)?;
    dict.set_item("winner", winner(held.winner))?;
    dict.set_item("pid", held.pid)?;
    dict.set_item("label", &held.label)?;
    dict.set_item("since", held.since.as_secs_f64())?;
    dict.set_item("left", held.left.as_secs_f64())?;
    dict.set_item("ends_with_holder", held.ends_with_holder)?;
    Ok(dict)
}
