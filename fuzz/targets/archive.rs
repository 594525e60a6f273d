#![no_main]
//! See `fuzz/src/archive.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| unanimity_fuzz::archive::check(data));
