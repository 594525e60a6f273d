#![no_main]
//! See `fuzz/src/invite.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| unanimity_fuzz::invite::check(data));
