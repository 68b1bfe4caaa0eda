#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| seqcast_fuzz::open(bytes));
