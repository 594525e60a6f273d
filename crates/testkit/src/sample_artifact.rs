//! What a manifest says of a file.

use unanimity_protocol::Hash;
use unanimity_protocol::manifest::{Artifact, ArtifactKind};

/// What a manifest says of these bytes, as the file `hello` of one platform.
pub fn sample_artifact(bytes: &[u8]) -> Artifact {
    Artifact {
        platform: "x86_64-linux".parse().unwrap(),
        file: "hello".parse().unwrap(),
        length: bytes.len() as u64,
        sha256: Hash::digest(bytes),
        kind: ArtifactKind::File,
    }
}
