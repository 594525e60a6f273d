#![no_main]
//! See `fuzz/src/http.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| unanimity_fuzz::http::check(data));
