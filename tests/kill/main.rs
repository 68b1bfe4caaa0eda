//! G7 and G8 with real processes: SIGKILL at every step of every call, and a stop at every step.
//!
//! A child runs instruction by instruction (ptrace). Each change of the segment's memory is a step of the protocol:
//! from then on other processes could see another state than before. So killing the child after each change is
//! equivalent to killing it at every instruction. Single steps are slow, so they are taken once for each call, to learn
//! after which instructions the memory changes. These then get breakpoints.
//!
//! `scene` has the segment and the child, `steps` kills and stops the child at every step. The other modules have the
//! calls under test, the checks of what is left behind, and the tests.

#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

mod bells;
mod claims;
mod posts;
mod relay;
mod retained;
mod scene;
mod seats;
mod steps;

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + len) as u8).collect()
}
