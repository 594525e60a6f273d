#![no_main]
//! See `fuzz/src/journal.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| unanimity_fuzz::journal::check(data));
