#![no_main]
//! See `fuzz/src/identity.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| unanimity_fuzz::identity::check(data));
