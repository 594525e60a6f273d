//! Why a cycle did not end well.

use unanimity_config::ConfigError;
use unanimity_install::{InstallError, InstallRefusal};
use unanimity_protocol::{Refusal, Timestamp, TreeHead};
use unanimity_report::{Classify, Condition, Exit};
use unanimity_state::{LogForked, StoreError};
use unanimity_storage::StorageError;

use crate::mirror_problem::MirrorProblem;

/// We could not find out: nothing was decided, and a later run may succeed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// What the node remembers.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] StorageError),
    /// What it was told, such as a circle that is too small.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A command that belongs to installing cannot be run.
    #[error(transparent)]
    Command(InstallError),
    /// No mirror was of any use.
    #[error("no mirror serves what is needed:{}", list(.0))]
    Mirrors(Vec<String>),
    /// The clock stands before a time that was already verified.
    #[error("the clock shows {now}, and {newest} was verified before: check the clock")]
    Clock {
        /// What it shows.
        now: Timestamp,
        /// When the newest unanimous roll was closed.
        newest: Timestamp,
    },
    /// Nobody serves tiles that tie the log's newest head to the one we trust.
    #[error(
        "nobody serves tiles that tie the log's newest head to the one trusted here ({trusted}): try again later, or add a mirror"
    )]
    HeadNotLinked {
        /// The stored or pinned head.
        trusted: TreeHead,
    },
}

fn list(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n  {line}")).collect()
}

/// Why a cycle did not end well: the world failed a check, or we could not find out.
#[derive(Debug, thiserror::Error)]
pub enum CycleError {
    /// A check failed.
    #[error(transparent)]
    Refused(Refusal),
    /// The mirrors show what must not be believed.
    #[error(transparent)]
    Mirror(MirrorProblem),
    /// Evidence of a fork is not acknowledged.
    #[error(transparent)]
    LogForked(LogForked),
    /// A check of installing failed.
    #[error(transparent)]
    Install(InstallRefusal),
    /// We could not find out.
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
