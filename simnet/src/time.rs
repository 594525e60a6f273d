//! Virtual time in milliseconds.

/// Virtual time: milliseconds since the world began.
pub type Millis = u64;
