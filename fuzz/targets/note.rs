#![no_main]
//! See `fuzz/src/note.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| unanimity_fuzz::note::check(data));
