//! The artifacts of a site.

use std::collections::BTreeMap;

use unanimity_protocol::Hash;
use unanimity_protocol::manifest::Artifact;

/// The artifacts that a site has, with their lengths.
pub(crate) type SiteArtifacts = BTreeMap<Hash, u64>;

/// Whether the site has the artifact. A release may name a length that no file with the digest has.
pub(crate) fn has_artifact(served: &SiteArtifacts, artifact: &Artifact) -> bool {
    served.get(&artifact.sha256) == Some(&artifact.length)
}
