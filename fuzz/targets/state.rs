#![no_main]
//! See `fuzz/src/state.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| unanimity_fuzz::state::check(data));
