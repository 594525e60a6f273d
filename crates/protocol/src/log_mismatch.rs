//! The ways in which served data differs from the data that the log's head commits to.

use crate::checkpoint::TreeHead;

/// Why a release, or the entries before it, are not proven by the log's head.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogMismatch {
    /// The log's head is not proven to extend the trusted head.
    #[error("the log's head does not extend the trusted head")]
    NotExtended,
    /// The inclusion proof does not lead from the release to the log's head.
    #[error("no proof that {release} is entry {index} of the log")]
    NotIncluded {
        /// The label of the release, `SEQUENCE-VERSION`.
        release: String,
        /// The claimed entry number of the release in the log, from 0.
        index: u64,
    },
    /// The release was proven in one head, and the peers' heads were linked to another head.
    #[error("the release is proven in another head than the one that the peers' heads link to")]
    OtherHead,
    /// The entries that the client read earlier are not the first entries of the log's head.
    #[error("the {read} entries that were read earlier are not those of the log's head ({head})")]
    EarlierEntries {
        /// The number of entries that the client read earlier.
        read: u64,
        /// The log's head.
        head: TreeHead,
    },
}
