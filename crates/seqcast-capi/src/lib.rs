//! The C interface of seqcast. `include/seqcast.h` is made from this crate and documents it for its callers.
//!
//! Each function is [`call`](failure::call)ed in one frame that turns errors and panics into numbers. What a caller
//! holds is a number that [`handle::Table`] looks up, and never an address: a handle that was freed, is of another
//! kind, or is in use by another thread gives an error.

#![allow(non_camel_case_types, reason = "the names are those of the header")]
#![allow(clippy::missing_safety_doc, reason = "the header says once, for all functions, what pointers must be")]
#![allow(clippy::too_many_arguments, reason = "texts are two arguments each")]
#![deny(missing_docs)]

mod argument;
mod handle;

// In the order of the header.
pub mod failure;

pub mod options;

pub mod bus;

pub mod seat;

pub mod delivery;

pub mod stats;

pub mod inspect;

/// The version of this interface. A library whose `seqcast_abi()` is another one must not be used with this header.
#[repr(C)]
pub enum seqcast_abi_version {
    /// Raised when an existing function, struct or number changes. What is new does not raise it.
    SEQCAST_ABI = 0,
}

/// Returns the `SEQCAST_ABI` of the library, to be compared with that of the header.
#[unsafe(no_mangle)]
pub extern "C" fn seqcast_abi() -> u32 {
    seqcast_abi_version::SEQCAST_ABI as u32
}

/// Copies the version of the library, such as `0.1.0`, as all functions copy texts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_version(buffer: *mut std::ffi::c_char, capacity: usize) -> std::ffi::c_int {
    // SAFETY: as the caller promises.
    failure::call(|| unsafe { argument::copy_text(env!("CARGO_PKG_VERSION"), buffer, capacity) })
}
