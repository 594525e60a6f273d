#![no_main]
//! See `fuzz/src/entries.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| unanimity_fuzz::entries::check(data));
