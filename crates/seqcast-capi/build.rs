//! Link arguments of the shared library.

/// Its number is raised together with `SEQCAST_ABI`, when an existing function or struct changes.
const SONAME: &str = "libseqcast.so.0";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,{SONAME}");
    // The library has a `pthread_atfork` handler and thread-local destructors, so it must stay mapped. Programs do
    // unload it: at each reload, nginx closes the libraries that a Lua VM has opened.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
