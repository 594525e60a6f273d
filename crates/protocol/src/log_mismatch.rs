//! Why a release is not what the log's head commits to.

use crate::checkpoint::TreeHead;

/// Why a release is not what the log's head commits to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogMismatch {
    /// The log's head is not known to contain the head that is trusted.
    #[error("the log's head does not extend the one we trust")]
    NotExtended,
    /// The inclusion proof does not lead from the release to the log's head.
    #[error("no proof that {release} is entry {index} of the log")]
    NotIncluded {
        /// `SEQUENCE-VERSION`.
        release: String,
        /// The release's claimed number in the log.
        index: u64,
    },
    /// The release was proven in one head, and the peers' heads were joined with another.
    #[error("proven in another head than the one the peers were joined with")]
    OtherHead,
    /// The entries that were read earlier are not the first of the log's head.
    #[error("the {read} entries read before are not those of the log's head ({head})")]
    EarlierEntries {
        /// How many entries were read earlier.
        read: u64,
        /// The log's head.
        head: TreeHead,
    },
}
