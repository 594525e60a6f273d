#![no_main]
//! See `fuzz/src/peers.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| unanimity_fuzz::peers::check(data));
