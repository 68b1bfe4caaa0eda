//! How the shared library is linked.

/// Raised when an existing function or struct changes, as `SEQCAST_ABI` is.
const SONAME: &str = "libseqcast.so.0";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,{SONAME}");
    // It has a handler of `pthread_atfork` and thread-local destructors, so that it must stay where it is. Programs
    // unload it: nginx closes what a Lua VM has opened at each reload.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
