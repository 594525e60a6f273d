#![no_main]
//! See `fuzz/src/tile.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| unanimity_fuzz::tile::check(data));
