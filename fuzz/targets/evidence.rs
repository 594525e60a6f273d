#![no_main]
//! See `fuzz/src/evidence.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| unanimity_fuzz::evidence::check(data));
