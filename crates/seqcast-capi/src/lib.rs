//! The C interface of seqcast. `include/seqcast.h` is generated from this crate and is its documentation.
//!
//! Each function runs its body in [`failure::call`], which turns errors and panics into numbers. A handle is a number
//! that [`handle::Table`] looks up, never an address: a handle that was freed, is of another kind, or is in use by
//! another thread gives an error.

#![allow(non_camel_case_types, reason = "the names are those of the header")]
#![allow(clippy::missing_safety_doc, reason = "the header states the rules for pointers once, for all functions")]
#![allow(clippy::too_many_arguments, reason = "each text is two arguments")]
#![deny(missing_docs)]

mod argument;
#[cfg(test)]
mod cluster;
mod handle;

// In the order of the header.
pub mod failure;

pub mod options;

pub mod bus;

pub mod seat;

pub mod delivery;

pub mod stats;

pub mod inspect;

/// The version of this interface. Do not use this header with a library that returns another `seqcast_abi()`.
#[repr(C)]
pub enum seqcast_abi_version {
    /// Raised when an existing function, struct or number changes. Additions do not raise it.
    SEQCAST_ABI = 0,
}

/// Returns the `SEQCAST_ABI` of the library. Compare it with that of the header.
#[unsafe(no_mangle)]
pub extern "C" fn seqcast_abi() -> u32 {
    seqcast_abi_version::SEQCAST_ABI as u32
}

/// Copies the version of the library, such as `0.1.0`. Returns the length of the text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_version(buffer: *mut std::ffi::c_char, capacity: usize) -> std::ffi::c_int {
    // SAFETY: as the caller promises.
    failure::call(|| unsafe { argument::copy_text(env!("CARGO_PKG_VERSION"), buffer, capacity) })
}
