//! The artifacts that a site has.

use std::collections::BTreeMap;

use unanimity_protocol::Hash;
use unanimity_protocol::manifest::Artifact;

/// The artifacts that a site has, with their lengths.
pub(crate) type SiteArtifacts = BTreeMap<Hash, u64>;

/// A release may give a length that no file of the digest has.
pub(crate) fn has_artifact(served: &SiteArtifacts, target: &Artifact) -> bool {
    served.get(&target.sha256) == Some(&target.length)
}
