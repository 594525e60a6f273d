#![no_main]
//! See `fuzz/src/spool.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| unanimity_fuzz::spool::check(data));
