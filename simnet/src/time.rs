//! Virtual time.

/// Virtual time: milliseconds since the world began.
pub type Millis = u64;
