//! An artifact of a manifest, for tests.

use unanimity_protocol::Hash;
use unanimity_protocol::manifest::{Artifact, ArtifactKind};

/// Describes `bytes` as the artifact `hello` for the platform `x86_64-linux`.
pub fn sample_artifact(bytes: &[u8]) -> Artifact {
    Artifact {
        platform: "x86_64-linux".parse().unwrap(),
        file: "hello".parse().unwrap(),
        length: bytes.len() as u64,
        sha256: Hash::digest(bytes),
        kind: ArtifactKind::File,
    }
}
