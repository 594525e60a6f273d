#![no_main]
//! See `fuzz/src/request.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| unanimity_fuzz::request::check(data));
