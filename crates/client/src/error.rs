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
pub enum UpdateError {
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
    Untied {
        /// The stored or pinned head.
        trusted: TreeHead,
    },
}

fn list(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n  {line}")).collect()
}

/// Why a cycle did not end well: the world failed a check, or we could not find out.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A check failed.
    #[error(transparent)]
    Refused(Refusal),
    /// The mirrors show what must not be believed.
    #[error(transparent)]
    Mirror(MirrorProblem),
    /// Evidence of a fork is not acknowledged.
    #[error(transparent)]
    Latched(LogForked),
    /// A check of installing failed.
    #[error(transparent)]
    Install(InstallRefusal),
    /// We could not find out.
    #[error(transparent)]
    Error(UpdateError),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure::Refused(refusal)
    }
}

impl From<MirrorProblem> for Failure {
    fn from(problem: MirrorProblem) -> Self {
        Failure::Mirror(problem)
    }
}

impl From<LogForked> for Failure {
    fn from(forked: LogForked) -> Self {
        Failure::Latched(forked)
    }
}

impl From<InstallRefusal> for Failure {
    fn from(refusal: InstallRefusal) -> Self {
        Failure::Install(refusal)
    }
}

impl From<InstallError> for Failure {
    fn from(error: InstallError) -> Self {
        match error {
            InstallError::Refused(refusal) => refusal.into(),
            InstallError::Install(refusal) => refusal.into(),
            InstallError::Disk(error) => error.into(),
            InstallError::Busy(path) | InstallError::Switching(path) => {
                StoreError::Busy(path).into()
            }
            error @ InstallError::Command { .. } => UpdateError::Command(error).into(),
            InstallError::Source(error) => UpdateError::Mirrors(vec![error.to_string()]).into(),
        }
    }
}

impl<E: Into<UpdateError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Error(error.into())
    }
}

impl Classify for UpdateError {
    fn exit(&self) -> Exit {
        match self {
            UpdateError::Store(error) => error.exit(),
            UpdateError::Disk(_) => Exit::Disk,
            UpdateError::Config(_) | UpdateError::Command(_) => Exit::Configuration,
            UpdateError::Mirrors(_) | UpdateError::Untied { .. } => Exit::Network,
            UpdateError::Clock { .. } => Exit::Clock,
        }
    }
}

impl Classify for Failure {
    fn exit(&self) -> Exit {
        match self {
            Failure::Refused(refusal) => refusal.exit(),
            Failure::Mirror(problem) => problem.exit(),
            Failure::Latched(forked) => forked.exit(),
            Failure::Install(refusal) => refusal.exit(),
            Failure::Error(error) => error.exit(),
        }
    }

    fn condition(&self) -> Condition {
        match self {
            Failure::Refused(refusal) => refusal.condition(),
            Failure::Mirror(problem) => problem.condition(),
            Failure::Latched(forked) => forked.condition(),
            Failure::Install(refusal) => refusal.condition(),
            Failure::Error(error) => error.condition(),
        }
    }
}
