//! The demo: two honest updates, then every attack, with a line of output for each step.

use std::fs;
use std::io::Write;
use std::path::Path;

use unanimity_report::Exit;

use crate::attacks::{Attack, AttackResult, SECOND};
use crate::{CycleSummary, DemoBackend, PEERS, ReleaseSpec, TestError};

/// The result of the demo.
#[derive(Debug)]
pub struct DemoSummary {
    /// Whether both honest releases were installed.
    pub installed: bool,
    /// The results of all attacks, in the order of [`Attack::ALL`].
    pub attacks: Vec<AttackResult>,
    /// Whether the split installation went as expected. `None` if it did not run.
    pub split_install: Option<bool>,
}

impl DemoSummary {
    /// Whether both releases were installed, every attack was resisted, and a split installation
    /// that ran went as expected.
    pub fn is_good(&self) -> bool {
        let resisted = self.attacks.iter().all(|attack| attack.resisted);
        self.installed && resisted && self.split_install != Some(false)
    }
}

/// Runs the whole demo with two releases of `artifact`, and writes each step to `out`. `backend`
/// must begin with an empty log. The second release and each attack run on a copy of its fixture,
/// below `directory`.
pub async fn run_script<C: DemoBackend>(
    mut backend: C,
    directory: &Path,
    artifact: &[u8],
    out: &mut impl Write,
) -> Result<DemoSummary, TestError> {
    writeln!(
        out,
        "The parties: a publisher with three keys (two must sign), a log, {PEERS} peers, a client."
    )?;
    writeln!(out, "{}\n", C::DESCRIPTION)?;
    let first = run_release(&mut backend, &ReleaseSpec::new(1, "1.0.0", artifact), out).await?;

    let mut honest = backend.resume_in(&directory.join("honest")).await?;
    let next = [artifact, b"\nthe second release\n"].concat();
    let second = run_release(&mut honest, &ReleaseSpec::new(2, "1.1.0", &next), out).await?;
    let current = fs::read(honest.fixture().install_root().join("current/hello"))?;
    drop(honest);
    writeln!(out, "`current/hello` is byte for byte the second release: {}\n", current == next)?;

    writeln!(out, "Now the attacks, each on a fresh copy with release 1 installed:\n")?;
    let mut attacks = Vec::new();
    for (i, attack) in Attack::ALL.into_iter().enumerate() {
        let attack_directory = directory.join(format!("attack-{:02}", i + 1));
        let result = attack.run(backend.resume_in(&attack_directory).await?).await?;
        let mark = match &result {
            AttackResult { updated: true, .. } => "in vain",
            AttackResult { resisted: true, .. } => "refused",
            _ => "NOT REFUSED",
        };
        writeln!(out, "{mark}  {}", result.title)?;
        if result.updated {
            writeln!(
                out,
                "           the client read the honest release from the peers, and installed it:"
            )?;
        }
        for line in result.message.lines() {
            writeln!(out, "           {}", line.trim_start())?;
        }
        if let Some(evidence) = &result.evidence {
            let path = attack_directory.join("evidence.txt");
            fs::write(&path, evidence.to_string())?;
        }
        attacks.push(result);
    }
    let resisted = attacks.iter().filter(|attack| attack.resisted).count();
    writeln!(
        out,
        "\n{resisted} of {} attacks were refused or in vain, and installed nothing.",
        attacks.len()
    )?;
    Ok(DemoSummary { installed: first && second && current == next, attacks, split_install: None })
}

/// Returns the commands of `program` that inspect a directory in which the demo ran.
pub fn inspection_commands(program: &str, directory: &Path) -> String {
    let at = |path: &str| shell_quote(&directory.join(path).display().to_string());
    let (honest, forked) =
        (at("honest/client/unanimity.toml"), at("attack-05/client/unanimity.toml"));
    let (installed, proof) =
        (at("honest/client/hello/current/hello"), at("honest/client/hello/proofs/2-1.1.0"));
    let (log, key, evidence) =
        (at("honest/log"), at("honest/log.pub"), at("attack-05/evidence.txt"));
    let commands = [
        format!("--config {honest} status"),
        format!("--config {honest} verify {installed} --proof {proof}"),
        format!("log show {log} --log-key {key}"),
        format!("evidence verify {evidence} --log-key {key}"),
        format!("--config {forked} evidence show"),
    ];
    // Only the demo in one process runs the split installation.
    let has_split = directory.join("split-install").exists();
    let split =
        has_split.then(|| format!("--config {} status", at("split-install/client/unanimity.toml")));
    let commands = commands.into_iter().chain(split);
    let commands: Vec<String> =
        commands.map(|command| format!("{} {command}\n", shell_quote(program))).collect();
    format!("\nEverything is in {}. To inspect it:\n{}", directory.display(), commands.concat())
}

/// Quotes a word for a shell, if it needs quotes.
fn shell_quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+~".contains(c);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Publishes a release, and lets the client update twice, `settle` apart. Returns whether the first
/// update was refused as settling and the release is then installed.
async fn run_release(
    backend: &mut impl DemoBackend,
    spec: &ReleaseSpec,
    out: &mut impl Write,
) -> Result<bool, TestError> {
    let manifest = backend.fixture().publish_release("log", spec, backend.now())?;
    let head = backend.fixture().head_of("log")?;
    writeln!(
        out,
        "{}  release {} ({} bytes)",
        backend.now(),
        manifest.label(),
        spec.artifact.len()
    )?;
    writeln!(out, "  signed     by publisher-a and publisher-b, offline")?;
    writeln!(out, "  logged     as entry {} ({head})", head.size() - 1)?;
    backend.poll_all_peers().await?;
    writeln!(
        out,
        "  polled     by {PEERS} peers, each from its own mirror, none of them on request"
    )?;
    let waits = backend.run_client_update().await?;
    write_round(&waits, out)?;
    if waits.exit != Exit::Settling {
        writeln!(out, "  expected to wait for `settle`, and got: {}", waits.message)?;
        return Ok(false);
    }
    writeln!(out, "  {}", waits.message)?;
    let settle = backend.settle();
    backend.advance_time(settle + SECOND).await;
    backend.poll_all_peers().await?;
    writeln!(out, "{}  {} later", backend.now(), humantime::format_duration(settle))?;
    let installs = backend.run_client_update().await?;
    write_round(&installs, out)?;
    match backend.fixture().installed_version()? {
        Some(installed) if installed.sequence == spec.sequence => {
            writeln!(out, "  installed  current -> versions/{}\n", installed.release)?;
            Ok(true)
        }
        _ => {
            writeln!(out, "  expected to install, and got: {}\n", installs.message)?;
            Ok(false)
        }
    }
}

fn write_round(cycle: &CycleSummary, out: &mut impl Write) -> std::io::Result<()> {
    let (all, unconfirmed) = (cycle.peers.len(), cycle.unconfirmed().len());
    let names: Vec<&str> = cycle.peers.iter().map(|(name, _)| name.as_str()).collect();
    let (size, names) = (cycle.size.unwrap_or(0), names.join(", "));
    writeln!(out, "  round      {} of {all} confirm size {size}: {names}", all - unconfirmed)
}
