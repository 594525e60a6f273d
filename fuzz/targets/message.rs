#![no_main]
//! See `fuzz/src/message.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| unanimity_fuzz::message::check(data));
