#![no_main]
//! See `fuzz/src/value.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| unanimity_fuzz::value::check(data));
