# Shortcuts for the slower checks. `just --list` shows them; each command also works without just.

# The gate.
ci:
    .ci/run

# Writes the listing of the public API.
api:
    cargo run -p api-listing -- --update

# Writes the C header and the declarations for LuaJIT.
header:
    SEQCAST_WRITE_HEADERS=1 cargo test -p seqcast-capi --test header
    make -C bindings/lua cdef

# All tests of the Python package, on every Python of the machine.
python:
    crates/seqcast-py/tests/run --all-pythons

# The Python wheel for manylinux2014.
wheel:
    crates/seqcast-py/wheel

# All tests of the C interface.
capi:
    crates/seqcast-capi/tests/run

# Everything that `cargo test` runs.
test:
    cargo test --workspace --all-features

# All models with larger bounds: 35 minutes.
models:
    cargo run -p loom-tests --release --bin models -- --deep

# All deliberate bugs.
mutants:
    cargo run -p loom-tests --release --bin mutants -- --all

# Processes killed and stopped at random.
torture seconds="600":
    cargo run --release --example torture -- --seconds {{seconds}}

# libFuzzer, for each target.
fuzz seconds="600":
    .ci/fuzz {{seconds}}

# AddressSanitizer and ThreadSanitizer.
sanitizers:
    .ci/sanitizers

# Licences, sources and advisories of the dependencies; needs cargo-deny.
deny:
    cargo deny check

coverage:
    .ci/coverage

# All figures.
bench:
    benches/run
