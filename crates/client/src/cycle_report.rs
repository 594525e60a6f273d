//! The outcome of a cycle, and the report of what the client saw in it.

use unanimity_install::Installed;
use unanimity_protocol::{ConfirmedRelease, CosignedHead, PeerFailure, Refusal, TreeHead};
use unanimity_report::{Classify, Exit};

/// The outcome of a cycle that ended without an error.
#[derive(Clone, Debug)]
pub enum CycleOutcome {
    /// Every peer agrees, and there is no new release.
    UpToDate,
    /// Every peer has confirmed this release for long enough. It can be installed.
    Available(Box<ConfirmedRelease>),
    /// This cycle installed a release.
    Installed(Installed),
}

/// A report of what the client saw in a cycle, which may have ended with an error. The report is
/// for display: no decision depends on it.
#[derive(Clone, Debug, Default)]
pub struct CycleReport {
    /// The head of the log that the client chose in this cycle. `None` if no host proved any head.
    pub head: Option<TreeHead>,
    /// Each peer's name, with its cosigned head or the reason why there is none.
    pub peers: Vec<(String, Result<CosignedHead, PeerFailure>)>,
    /// Each mirror's name, with its checkpoint or the reason why there is none.
    pub mirrors: Vec<(String, Result<TreeHead, String>)>,
    /// The refused entries of this product that no earlier cycle reported, each with its index.
    pub refused: Vec<(u64, Refusal)>,
    /// How many entries have a kind that this version does not know.
    pub unknown_kinds: u64,
    /// Further observations for the operator, a line each.
    pub remarks: Vec<String>,
}

impl Classify for CycleOutcome {
    fn exit(&self) -> Exit {
        match self {
            CycleOutcome::UpToDate | CycleOutcome::Installed(_) => Exit::Done,
            CycleOutcome::Available(_) => Exit::Available,
        }
    }
}
