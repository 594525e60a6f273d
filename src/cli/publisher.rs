//! `keygen` and `release`: the publisher's commands. None of them needs a network.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use unanimity_protocol::key::{KeyName, SigningKey, VerifyingKey};
use unanimity_protocol::note::NoteError;
use unanimity_protocol::{
    Name, Note, NoteSigningKey, NoteVerifyingKey, Origin, Statement, Withdrawal,
};
use unanimity_publish::{ArtifactDraft, KdfCost, ReleaseDraft};
use unanimity_report::{CommandError, CommandOutput, Exit, path_json};
use unanimity_storage::{Clock as _, Mode, PrivateFileError, Storage, SystemClock};

use super::input::{MAX_FILE_BYTES, parse_note_key, read_file};
use super::passphrase::PassphraseArgs;
use super::render_statement::{describe, statement_json};

/// Make a key pair: the secret key encrypted in a file, the public key printed.
#[derive(Debug, Args)]
pub(super) struct KeygenArgs {
    /// What the key is for; a key has one role
    #[arg(long, value_enum)]
    role: KeyRole,
    /// The key's name, which is in every signature that it makes: no spaces, no '+'
    #[arg(long)]
    name: KeyName,
    /// The file for the secret key (mode 0600); the file for the public key has '.pub' added
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// The role of a key.
///
/// Keys of publishers and logs have one type, so only their owners keep the roles apart. A node
/// refuses a configuration with one key in two roles.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum KeyRole {
    /// Signs releases
    Publisher,
    /// Signs a log's checkpoints
    Log,
    /// Cosigns a peer's tree heads
    Peer,
}

impl KeygenArgs {
    pub(super) fn run(self) -> Result<CommandOutput, CommandError> {
        match self.role {
            KeyRole::Publisher | KeyRole::Log => self.generate_pair::<0x01>(),
            KeyRole::Peer => self.generate_pair::<0x04>(),
        }
    }

    fn generate_pair<const TYPE: u8>(&self) -> Result<CommandOutput, CommandError> {
        let mut public_path = self.out.clone().into_os_string();
        public_path.push(".pub");
        let public_path = PathBuf::from(public_path);
        for path in [&self.out, &public_path] {
            if path.exists() {
                return Err(PrivateFileError::Exists(path.clone()).into());
            }
        }
        let passphrase = self.passphrase.ask_new(&self.out)?;
        let disk = Storage::default();
        let secret: SigningKey<TYPE> = unanimity_publish::generate_key(self.name.clone());
        unanimity_publish::write_key(&self.out, &secret, &passphrase, KdfCost::Calibrated, &disk)?;
        let public: VerifyingKey<TYPE> = secret.public();
        let line = format!("{public}\n");
        let written =
            unanimity_storage::write_new(&public_path, line.as_bytes(), Mode::Public, &disk);
        if let Err(error) = written {
            // A leftover file would block the next try.
            disk.remove(&self.out).and(disk.remove(&public_path)).ok();
            return Err(error.into());
        }
        let json = json!({ "key": public.to_string(), "secret_file": path_json(&self.out), "public_file": path_json(&public_path) });
        Ok(CommandOutput::ok(line, json))
    }
}

/// Describe, sign, show and withdraw releases.
#[derive(Debug, Subcommand)]
pub(super) enum ReleaseCommand {
    /// Write a manifest, not yet signed
    New(ReleaseNewArgs),
    /// Write a withdrawal of a release, not yet signed
    Withdraw(ReleaseWithdrawArgs),
    /// Show a manifest or a withdrawal, and add one signature to it
    Sign(ReleaseSignArgs),
    /// Show a manifest or a withdrawal, and its signatures
    Show(ReleaseShowArgs),
}

impl ReleaseCommand {
    pub(super) fn name(&self) -> &'static str {
        match self {
            ReleaseCommand::New(_) => "release new",
            ReleaseCommand::Withdraw(_) => "release withdraw",
            ReleaseCommand::Sign(_) => "release sign",
            ReleaseCommand::Show(_) => "release show",
        }
    }

    pub(super) fn run(self) -> Result<CommandOutput, CommandError> {
        match self {
            ReleaseCommand::New(new) => new.run(),
            ReleaseCommand::Withdraw(withdraw) => withdraw.run(),
            ReleaseCommand::Sign(sign) => sign.run(),
            ReleaseCommand::Show(show) => show.run(),
        }
    }
}

/// The arguments that name a product in a log.
#[derive(Debug, Args)]
struct ProductArgs {
    /// The origin of the log for the release
    #[arg(long, value_name = "ORIGIN")]
    log_origin: Origin,
    /// The product's name
    #[arg(long)]
    product: Name,
    /// The channel, such as 'stable'
    #[arg(long)]
    channel: Name,
}

#[derive(Debug, Args)]
pub(super) struct ReleaseNewArgs {
    #[command(flatten)]
    product_args: ProductArgs,
    /// The release's number, larger than that of every earlier release: it alone decides which is
    /// newer
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    sequence: u64,
    /// The version, a name for people
    #[arg(long)]
    version: Name,
    /// The time in which the release may be installed, such as '90d'
    #[arg(long, value_name = "DURATION", default_value = "90d")]
    valid_for: humantime::Duration,
    /// The file for a platform, such as x86_64-linux=build/hello, which is installed under its own
    /// name. An archive (.tar, .tar.gz, .tgz, .tar.zst) is unpacked at the installation. May be
    /// given more than once, for different platforms
    #[arg(long, value_name = "PLATFORM=FILE", required = true)]
    artifact: Vec<String>,
    /// Do not unpack archives at the installation: install each one as a file
    #[arg(long)]
    as_file: bool,
    /// The file for the manifest
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl ReleaseNewArgs {
    fn run(self) -> Result<CommandOutput, CommandError> {
        let artifacts: Vec<_> =
            self.artifact.iter().map(|text| self.parse_artifact(text)).collect::<Result<_, _>>()?;
        for (i, ArtifactDraft { platform, .. }) in artifacts.iter().enumerate() {
            if artifacts[..i].iter().any(|other| other.platform == *platform) {
                return Err(CommandError::usage(format!("--artifact: two files for {platform}")));
            }
        }
        if self.valid_for.as_secs() == 0 {
            return Err(CommandError::usage(
                "--valid-for: less than a second is too short to install the release",
            ));
        }
        let release = ReleaseDraft {
            log: self.product_args.log_origin,
            product: self.product_args.product,
            channel: self.product_args.channel,
            sequence: self.sequence,
            version: self.version,
            issued: SystemClock.now(),
            valid_for: *self.valid_for,
        };
        let manifest = unanimity_publish::build_manifest(release, artifacts)?;
        write_statement(Statement::Release(manifest), &self.out)
    }

    fn parse_artifact(&self, argument: &str) -> Result<ArtifactDraft, CommandError> {
        let shape =
            || CommandError::usage(format!("--artifact {argument:?}: expected PLATFORM=FILE"));
        let (platform, path) = argument.split_once('=').ok_or_else(shape)?;
        let named = |error: &dyn std::fmt::Display| {
            CommandError::usage(format!("--artifact {argument:?}: {error}"))
        };
        let platform = platform.parse().map_err(|error| named(&error))?;
        let path = Path::new(path);
        let file = path.file_name().and_then(|name| name.to_str()).ok_or_else(shape)?;
        let file = file.parse().map_err(|error| named(&error))?;
        let bytes = read_file(path, MAX_FILE_BYTES)?;
        if self.as_file {
            return Ok((platform, file, bytes).into());
        }
        Ok(ArtifactDraft::from_named_file(platform, file, bytes)?)
    }
}

/// Writes an unsigned statement to a new file.
fn write_statement(statement: Statement, out: &Path) -> Result<CommandOutput, CommandError> {
    let text = statement.to_string();
    unanimity_storage::write_new(out, text.as_bytes(), Mode::Public, &Storage::default())?;
    let (path, described) = (out.display(), describe(&statement));
    let text = format!("{described}\nWritten to {path}. Now sign it: `unanimity release sign`\n");
    let (field, statement) = statement_json(&statement);
    Ok(CommandOutput::ok(text, json!({ field: statement, "file": path_json(out) })))
}

#[derive(Debug, Args)]
pub(super) struct ReleaseWithdrawArgs {
    #[command(flatten)]
    product_args: ProductArgs,
    /// The release's sequence
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    sequence: u64,
    /// The reason in a few words, for every node's operator
    #[arg(long)]
    reason: String,
    /// The file for the withdrawal
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl ReleaseWithdrawArgs {
    fn run(self) -> Result<CommandOutput, CommandError> {
        let withdrawal = unanimity_publish::check_withdrawal(Withdrawal {
            log: self.product_args.log_origin,
            product: self.product_args.product,
            channel: self.product_args.channel,
            sequence: self.sequence,
            issued: SystemClock.now(),
            reason: self.reason,
        })?;
        write_statement(Statement::Withdrawal(withdrawal), &self.out)
    }
}

#[derive(Debug, Args)]
pub(super) struct ReleaseSignArgs {
    /// The manifest or withdrawal; the signature is added to this file
    manifest: PathBuf,
    /// The publisher's secret key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Sign without a confirmation
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

impl ReleaseSignArgs {
    fn run(self) -> Result<CommandOutput, CommandError> {
        let (shown, statement) = unanimity_publish::read_statement(&self.manifest)?;
        if !self.yes {
            confirm_signing(&statement)?;
        }
        let secret: NoteSigningKey = self.passphrase.open_key(&self.key)?;
        let note = unanimity_publish::sign_statement(
            &self.manifest,
            &shown,
            &secret,
            &Storage::default(),
        )?;
        let (name, count) = (secret.public().name().clone(), note.signatures().len());
        let text = format!(
            "{}\n{} is signed by {name}. Signature lines: {count}.\n",
            describe(&statement),
            self.manifest.display()
        );
        let (field, statement) = statement_json(&statement);
        let json = json!({ field: statement, "signed_by": name.as_str(), "signatures": count });
        Ok(CommandOutput::ok(text, json))
    }
}

/// Shows the statement, and returns without an error only if the operator types `yes`.
fn confirm_signing(statement: &Statement) -> Result<(), CommandError> {
    if !std::io::stdin().is_terminal() {
        return Err(CommandError::usage(
            "there is no terminal to confirm the signature. Look at the file with `unanimity release show`, then give --yes",
        ));
    }
    let failed = |error: std::io::Error| CommandError::new(Exit::Failed, error.to_string());
    let mut screen = std::io::stderr();
    let shown = unanimity_report::escape_for_terminal(&describe(statement));
    write!(screen, "{shown}\nSign this? Type yes: ").map_err(failed)?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(failed)?;
    if answer.trim() == "yes" { Ok(()) } else { Err(CommandError::new(Exit::Failed, "not signed")) }
}

#[derive(Debug, Args)]
pub(super) struct ReleaseShowArgs {
    /// The manifest or withdrawal
    manifest: PathBuf,
    /// A publisher's public key (the line, or a file that holds it) to check signatures with
    #[arg(long = "key", value_name = "KEY", value_parser = parse_note_key)]
    keys: Vec<NoteVerifyingKey>,
}

impl ReleaseShowArgs {
    fn run(self) -> Result<CommandOutput, CommandError> {
        let (note, statement) = unanimity_publish::read_statement(&self.manifest)?;
        let mut text = describe(&statement);
        let signatures = check_signatures(&note, &self.keys).map_err(|error| {
            CommandError::new(Exit::BadSignature, format!("{}: {error}", self.manifest.display()))
        })?;
        for (name, verified) in &signatures {
            let word = if *verified {
                "verified"
            } else if self.keys.is_empty() {
                "not checked: give its key with --key"
            } else {
                "not checked: none of the keys given is its key"
            };
            text += &format!("signed by  {name} ({word})\n");
        }
        if signatures.is_empty() {
            text += "signed by  no key yet\n";
        }
        if !self.keys.is_empty() && signatures.iter().all(|(_, verified)| !verified) {
            let path = self.manifest.display();
            let why = format!("{path}: signed by none of the keys given\n{}", text.trim_end());
            return Err(CommandError::new(Exit::BadSignature, why));
        }
        let signed: Vec<Value> = (signatures.iter())
            .map(|(name, verified)| json!({ "name": name, "verified": verified }))
            .collect();
        let (field, statement) = statement_json(&statement);
        Ok(CommandOutput::ok(text, json!({ field: statement, "signatures": signed })))
    }
}

/// Returns the key name on each signature line, and whether one of `keys` verifies that signature.
fn check_signatures(
    note: &Note,
    keys: &[NoteVerifyingKey],
) -> Result<Vec<(String, bool)>, NoteError> {
    let mut verified = Vec::new();
    for key in keys {
        match note.open(std::slice::from_ref(key)) {
            Ok(_) => verified.push((key.name().clone(), key.id())),
            Err(NoteError::Unsigned) => {}
            Err(error) => return Err(error),
        }
    }
    let lines = note.signatures().iter();
    Ok(lines
        .map(|line| (line.name.to_string(), verified.contains(&(line.name.clone(), line.id))))
        .collect())
}
