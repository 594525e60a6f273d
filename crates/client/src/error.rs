//! The errors of a cycle: a check failed, or the client could not complete its work.

use unanimity_config::ConfigError;
use unanimity_install::{InstallError, InstallRefusal};
use unanimity_protocol::{Refusal, Timestamp, TreeHead};
use unanimity_report::{Classify, Condition, Exit};
use unanimity_state::{LogForked, StoreError};
use unanimity_storage::StorageError;

use crate::mirror_problem::MirrorProblem;

/// An error that kept the client from completing its checks or its download. A later cycle may
/// succeed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The node's state cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file cannot be read or written.
    #[error(transparent)]
    Disk(#[from] StorageError),
    /// The configuration is not valid: for example, it has too few peers.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An operator's command (a hook) cannot be run.
    #[error(transparent)]
    Command(InstallError),
    /// No mirror or peer serves the needed files. The list has one line for each failed attempt.
    #[error("no mirror serves the needed files:{}", list(.0))]
    Mirrors(Vec<String>),
    /// The clock is behind the newest verified time, by more than the allowed skew.
    #[error("the clock shows {now}, which is before the verified time {newest}. Check the clock")]
    Clock {
        /// The time that the clock shows.
        now: Timestamp,
        /// The time at which the newest unanimous round closed.
        newest: Timestamp,
    },
    /// No mirror or peer serves tiles that prove that the newest head extends the trusted head.
    #[error(
        "cannot prove that the log's newest head extends the trusted head ({trusted}): no mirror or peer serves the tiles. Try again later, or add a mirror"
    )]
    HeadNotLinked {
        /// The stored or pinned head.
        trusted: TreeHead,
    },
}

fn list(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n  {line}")).collect()
}

/// The reason why a cycle has no outcome: a check failed, or the client could not complete its
/// work.
#[derive(Debug, thiserror::Error)]
pub enum CycleError {
    /// A check of the protocol failed.
    #[error(transparent)]
    Refused(Refusal),
    /// The mirrors serve an old log or entries that are not the log's.
    #[error(transparent)]
    Mirror(MirrorProblem),
    /// The log has forked, and the operator has not acknowledged the evidence.
    #[error(transparent)]
    LogForked(LogForked),
    /// A check of the installation failed.
    #[error(transparent)]
    Install(InstallRefusal),
    /// The client could not complete its checks or its download.
    #[error(transparent)]
    Client(ClientError),
}

impl From<Refusal> for CycleError {
    fn from(refusal: Refusal) -> Self {
        CycleError::Refused(refusal)
    }
}

impl From<MirrorProblem> for CycleError {
    fn from(problem: MirrorProblem) -> Self {
        CycleError::Mirror(problem)
    }
}

impl From<LogForked> for CycleError {
    fn from(forked: LogForked) -> Self {
        CycleError::LogForked(forked)
    }
}

impl From<InstallRefusal> for CycleError {
    fn from(refusal: InstallRefusal) -> Self {
        CycleError::Install(refusal)
    }
}

impl From<InstallError> for CycleError {
    fn from(error: InstallError) -> Self {
        match error {
            InstallError::Refused(refusal) => refusal.into(),
            InstallError::Install(refusal) => refusal.into(),
            InstallError::Disk(error) => error.into(),
            InstallError::Busy(path) | InstallError::Switching(path) => {
                StoreError::Busy(path).into()
            }
            error @ InstallError::Command { .. } => ClientError::Command(error).into(),
            InstallError::Source(error) => ClientError::Mirrors(vec![error.to_string()]).into(),
        }
    }
}

impl<E: Into<ClientError>> From<E> for CycleError {
    fn from(error: E) -> Self {
        CycleError::Client(error.into())
    }
}

impl Classify for ClientError {
    fn exit(&self) -> Exit {
        match self {
            ClientError::Store(error) => error.exit(),
            ClientError::Disk(_) => Exit::Disk,
            ClientError::Config(_) | ClientError::Command(_) => Exit::Configuration,
            ClientError::Mirrors(_) | ClientError::HeadNotLinked { .. } => Exit::Network,
            ClientError::Clock { .. } => Exit::Clock,
        }
    }
}

impl Classify for CycleError {
    fn exit(&self) -> Exit {
        match self {
            CycleError::Refused(refusal) => refusal.exit(),
            CycleError::Mirror(problem) => problem.exit(),
            CycleError::LogForked(forked) => forked.exit(),
            CycleError::Install(refusal) => refusal.exit(),
            CycleError::Client(error) => error.exit(),
        }
    }

    fn condition(&self) -> Condition {
        match self {
            CycleError::Refused(refusal) => refusal.condition(),
            CycleError::Mirror(problem) => problem.condition(),
            CycleError::LogForked(forked) => forked.condition(),
            CycleError::Install(refusal) => refusal.condition(),
            CycleError::Client(error) => error.condition(),
        }
    }
}
