#![no_main]
//! See `fuzz/src/proof.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| unanimity_fuzz::proof::check(data));
