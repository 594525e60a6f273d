//! The rights of what is written.

/// Who may read what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The owner only: 0600, directories 0700.
    Private,
    /// Everybody: 0644, directories 0755.
    Public,
    /// Everybody, and it can be run: 0755.
    Program,
}

impl Mode {
    pub(crate) fn bits(self, directory: bool) -> u32 {
        match self {
            Mode::Private if directory => 0o700,
            Mode::Private => 0o600,
            Mode::Public if !directory => 0o644,
            Mode::Public | Mode::Program => 0o755,
        }
    }
}
