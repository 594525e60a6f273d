//! `verify`: checks a file against its proof bundle, offline.

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

/// The beginning of a log's inclusion proof, which is no proof bundle.
const TLOG_PROOF: &str = "c2sp.org/tlog-proof@";

/// Verify a file against its proof bundle, offline.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The file to verify
    file: PathBuf,
    /// The file's proof bundle
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
            let why = "not a proof bundle, but a proof that the log has an entry. `unanimity log verify` checks it";
            return Err(bad(Exit::BadInput, &why));
        }
        let bundle = ProofBundle::parse(text).map_err(|error| bad(Exit::BadInput, &error))?;
        let confirmed = bundle.verify(&config.cycle.policy, &config.peers, &config.cycle.limits);
        // No update is running here, so any refusal means that the bundle does not prove agreement.
        let confirmed = confirmed.map_err(|why| {
            let why = advice::describe(&why);
            bad(Exit::BadProof, &format!("does not prove agreement: {why}"))
        })?;
        let manifest = confirmed.manifest();
        let file = unanimity_storage::open_regular_file(&self.file)
            .map_err(StorageError::at(&self.file))?;
        let length = file.metadata().map_err(StorageError::at(&self.file))?.len();
        // All platforms are tried, because a third party may check a file for another platform.
        let targets = manifest.artifacts.iter().filter(|target| target.length == length);
        let why = format!(
            "bad artifact: {} has {length} bytes, and no artifact of release {} has that length",
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
                    // A withdrawal may be later than the proof, as far as this node has read the
                    // log.
                    let spool = config.cycle.spool.as_ref();
                    let state_dirs =
                        readable_state_dirs(&config.cycle.install_root, &config.cycle.state, spool);
                    let catalog = load_known_releases(&state_dirs, &config.cycle.policy);
                    let caveat =
                        match catalog.map(|catalog| catalog.check_not_withdrawn(&release, false)) {
                            Ok(check) => {
                                check.map_err(|why| bad(Exit::Withdrawn, &why))?;
                                String::new()
                            }
                            Err(error) => {
                                format!("Whether it was withdrawn since is not known: {error}\n")
                            }
                        };
                    // No signature covers the time of a round. The command shows the oldest time
                    // that a peer signed in each round.
                    let [earlier, latest] = confirmed.rounds().map(|round| {
                        round
                            .cosigned_heads()
                            .map(|cosigned| cosigned.signed_at())
                            .min()
                            .unwrap_or(round.closed_at())
                    });
                    let peers: Vec<&str> = config.peers.iter().map(|p| p.name.as_str()).collect();
                    let text = format!(
                        "{} is {} {} for {}.\nSigned by the publisher, entry {} of the log, confirmed by {} \
                         at {earlier} and again at {latest}.\n{caveat}",
                        self.file.display(),
                        manifest.product,
                        release,
                        target.platform,
                        confirmed.log_entry().index,
                        peers.join(", "),
                    );
                    let json = json!({
                        "manifest": super::render_statement::manifest_json(manifest),
                        "platform": target.platform.as_str(),
                        "index": confirmed.log_entry().index,
                        "head": super::log::head_json(confirmed.head()),
                        "peers": peers,
                        "rounds": [earlier, latest],
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
