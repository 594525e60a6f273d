//! `verify`: a file against its proof bundle, offline.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use unanimity_config::ClientConfig;
use unanimity_install::state_dirs::{load_known_releases, readable_state_dirs};
use unanimity_install::{InstallError, verify_artifact};
use unanimity_protocol::ProofBundle;
use unanimity_protocol::proof_bundle::MAX_BUNDLE_BYTES;
use unanimity_report::{CommandError, CommandOutput, Exit};
use unanimity_storage::StorageError;

use super::input::read_file;
use crate::advice;

/// What the log's own proofs begin with.
const TLOG_PROOF: &str = "c2sp.org/tlog-proof@";

/// Verify a file against its proof bundle, offline.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The file
    file: PathBuf,
    /// Its proof bundle
    #[arg(long, value_name = "FILE")]
    proof: PathBuf,
}

impl VerifyArgs {
    pub(super) fn run(self, config: &ClientConfig) -> Result<CommandOutput, CommandError> {
        let bytes = read_file(&self.proof, MAX_BUNDLE_BYTES)?;
        let bad = |exit, why: &dyn std::fmt::Display| {
            CommandError::new(exit, format!("{}: {why}", self.proof.display()))
        };
        let text = std::str::from_utf8(&bytes).map_err(|error| bad(Exit::BadInput, &error))?;
        if text.starts_with(TLOG_PROOF) {
            let why = "this proves that the log has an entry, and no more: `unanimity log verify`";
            return Err(bad(Exit::BadInput, &why));
        }
        let bundle = ProofBundle::parse(text).map_err(|error| bad(Exit::BadInput, &error))?;
        let agreed = bundle.verify(&config.cycle.policy, &config.peers, &config.cycle.limits);
        // It is the bundle that does not prove, whichever stage says so; no update is under way.
        let agreed = agreed.map_err(|why| {
            let why = advice::describe(&why);
            bad(Exit::BadProof, &format!("does not prove agreement: {why}"))
        })?;
        let manifest = agreed.manifest();
        let file = unanimity_storage::open_regular_file(&self.file)
            .map_err(StorageError::at(&self.file))?;
        let length = file.metadata().map_err(StorageError::at(&self.file))?.len();
        // Whichever platform it is for: a third party may check another's file.
        let targets = manifest.artifacts.iter().filter(|target| target.length == length);
        let why = format!(
            "bad artifact: {} has {length} bytes, and no artifact of release {} has",
            self.file.display(),
            manifest.label()
        );
        let mut refused = CommandError::new(Exit::BadArtifact, why);
        for target in targets {
            let file = unanimity_storage::open_regular_file(&self.file)
                .map_err(StorageError::at(&self.file))?;
            match verify_artifact(target, file) {
                Ok(()) => {
                    let release = manifest.label();
                    // Later than the proof, as far as this node has read the log.
                    let spool = config.cycle.spool.as_ref();
                    let memories =
                        readable_state_dirs(&config.cycle.install_root, &config.cycle.state, spool);
                    let known = load_known_releases(&memories, &config.cycle.policy);
                    let unknown =
                        match known.map(|known| known.check_not_withdrawn(&release, false)) {
                            Ok(standing) => {
                                standing.map_err(|why| bad(Exit::Withdrawn, &why))?;
                                String::new()
                            }
                            Err(error) => {
                                format!("Whether it was taken back since is not known: {error}\n")
                            }
                        };
                    // A roll's own time is nobody's word: these are the oldest that the peers signed.
                    let [earlier, latest] = agreed.rounds().map(|roll| {
                        roll.cosigned_heads()
                            .map(|view| view.signed_at())
                            .min()
                            .unwrap_or(roll.closed_at())
                    });
                    let peers: Vec<&str> = config.peers.iter().map(|p| p.name.as_str()).collect();
                    let text = format!(
                        "{} is {} {} for {}.\nSigned by the publisher, entry {} of the log, confirmed by {} \
                         at {earlier} and again at {latest}.\n{unknown}",
                        self.file.display(),
                        manifest.product,
                        release,
                        target.platform,
                        agreed.log_entry().index,
                        peers.join(", "),
                    );
                    let json = json!({
                        "manifest": super::render_statement::manifest_json(manifest),
                        "platform": target.platform.as_str(),
                        "index": agreed.log_entry().index,
                        "head": super::log::head_json(agreed.head()),
                        "peers": peers,
                        "rolls": [earlier, latest],
                    });
                    return Ok(CommandOutput::ok(text, json));
                }
                Err(InstallError::Install(refusal)) => refused = refusal.into(),
                Err(error) => return Err(error.into()),
            }
        }
        Err(refused)
    }
}
