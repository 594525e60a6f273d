#![no_main]
//! See `fuzz/src/statement.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| unanimity_fuzz::statement::check(data));
