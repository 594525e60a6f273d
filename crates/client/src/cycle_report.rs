//! What a cycle came to, and what it saw.

use unanimity_install::Installed;
use unanimity_protocol::{ConfirmedRelease, CosignedHead, PeerFailure, Refusal, TreeHead};
use unanimity_report::{Classify, Exit};

/// A cycle that ended well.
#[derive(Clone, Debug)]
pub enum CycleOutcome {
    /// Every peer agrees, and nothing is new.
    UpToDate,
    /// Every peer has confirmed this release for long enough: it can be installed.
    Available(Box<ConfirmedRelease>),
    /// It was.
    Installed(Installed),
}

/// What a cycle saw, whatever it came to. For people and programs; nothing decides on it.
#[derive(Clone, Debug, Default)]
pub struct CycleReport {
    /// The log's head that was adopted for this cycle.
    pub head: Option<TreeHead>,
    /// What each peer answered: its name and the view or why there is none.
    pub peers: Vec<(String, Result<CosignedHead, PeerFailure>)>,
    /// Each mirror and what it showed.
    pub mirrors: Vec<(String, Result<TreeHead, String>)>,
    /// Entries of ours that were read and refused, by index; those seen for the first time.
    pub refused: Vec<(u64, Refusal)>,
    /// Entries of kinds that this version does not know.
    pub unknown_kinds: u64,
    /// What else an operator may want to know.
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
