#![no_main]
//! See `fuzz/src/bundle.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| unanimity_fuzz::bundle::check(data));
