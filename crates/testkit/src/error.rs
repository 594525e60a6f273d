//! The error type of the testkit.

/// A failure to build or run a fixture. The result of an attack is never an error.
pub type TestError = Box<dyn std::error::Error + Send + Sync>;
