//! The artifacts that a site has.

use std::collections::BTreeMap;

use unanimity_protocol::Hash;
use unanimity_protocol::manifest::Artifact;

/// The length of each artifact that a site has, by the artifact's digest.
pub(crate) type SiteArtifacts = BTreeMap<Hash, u64>;

/// Whether the site has a file with the artifact's digest and length. A release may name a wrong
/// length for a digest.
pub(crate) fn has_artifact(served: &SiteArtifacts, artifact: &Artifact) -> bool {
    served.get(&artifact.sha256) == Some(&artifact.length)
}
