#![no_main]
//! See `fuzz/src/config.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| unanimity_fuzz::config::check(data));
