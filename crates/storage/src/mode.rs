//! The permissions with which files and directories are created.

/// The permissions of a new file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Access for the owner only: files 0600, directories 0700.
    Private,
    /// Read access for all users: files 0644, directories 0755.
    Public,
    /// Read access and execution for all users: 0755.
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
