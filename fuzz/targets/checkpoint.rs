#![no_main]
//! See `fuzz/src/checkpoint.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| unanimity_fuzz::checkpoint::check(data));
