//! Rendering releases and withdrawals, as text and as JSON.

use serde_json::{Value, json};
use unanimity_protocol::manifest::ArtifactKind;
use unanimity_protocol::{Manifest, Statement, Withdrawal};

/// Describes a statement for people.
pub(super) fn describe(statement: &Statement) -> String {
    match statement {
        Statement::Release(manifest) => describe_release(manifest),
        Statement::Withdrawal(withdrawal) => format!(
            "WITHDRAWS sequence {} of {}, channel {}: no node installs it any more\nreason     {}\nlog        {}\nissued     {}\n",
            withdrawal.sequence,
            withdrawal.product,
            withdrawal.channel,
            withdrawal.reason,
            withdrawal.log,
            withdrawal.issued,
        ),
    }
}

fn describe_release(manifest: &Manifest) -> String {
    let mut text = format!(
        "product    {}, channel {}\nrelease    {} (sequence {})\nlog        {}\nissued     {}\nexpires    {}\n",
        manifest.product,
        manifest.channel,
        manifest.version,
        manifest.sequence,
        manifest.log,
        manifest.issued,
        manifest.expires,
    );
    for target in &manifest.artifacts {
        let kind = match target.kind {
            ArtifactKind::File => "a file".to_owned(),
            ArtifactKind::Archive { unpacked, entries, .. } => {
                format!("an archive: entries {entries}, bytes unpacked {unpacked}")
            }
        };
        text += &format!(
            "{}: {}, {} bytes, {kind}\n           SHA-256 {}\n",
            target.platform, target.file, target.length, target.sha256
        );
    }
    text
}

/// Returns a statement as JSON, and the name of the field for it in a report.
pub(super) fn statement_json(statement: &Statement) -> (&'static str, Value) {
    match statement {
        Statement::Release(manifest) => ("manifest", manifest_json(manifest)),
        Statement::Withdrawal(withdrawal) => ("withdrawal", withdrawal_json(withdrawal)),
    }
}

fn withdrawal_json(withdrawal: &Withdrawal) -> Value {
    json!({
        "log": withdrawal.log.as_str(),
        "product": withdrawal.product.as_str(),
        "channel": withdrawal.channel.as_str(),
        "sequence": withdrawal.sequence,
        "issued": withdrawal.issued,
        "reason": withdrawal.reason,
    })
}

/// Returns a manifest as JSON.
pub(super) fn manifest_json(manifest: &Manifest) -> Value {
    let artifacts: Vec<Value> = (manifest.artifacts.iter())
        .map(|target| {
            json!({
                "platform": target.platform.as_str(),
                "file": target.file.as_str(),
                "length": target.length,
                "sha256": target.sha256.hex(),
                "kind": match target.kind {
                    ArtifactKind::File => json!({ "file": {} }),
                    ArtifactKind::Archive { unpacked, entries, .. } => {
                        json!({ "archive": { "unpacked": unpacked, "entries": entries } })
                    }
                },
            })
        })
        .collect();
    json!({
        "log": manifest.log.as_str(),
        "product": manifest.product.as_str(),
        "channel": manifest.channel.as_str(),
        "sequence": manifest.sequence,
        "version": manifest.version.as_str(),
        "issued": manifest.issued,
        "expires": manifest.expires,
        "artifacts": artifacts,
    })
}
