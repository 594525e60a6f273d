//! Why a play broke off.

/// What can go wrong while a circle is built or played: never part of what it shows.
pub type TestError = Box<dyn std::error::Error + Send + Sync>;
