//! The honest update, told stage by stage, and then every attack.

use std::fs;
use std::io::Write;
use std::path::Path;

use unanimity_report::Exit;

use crate::attacks::{Attack, AttackResult, SECOND};
use crate::{CycleSummary, DemoBackend, PEERS, ReleaseSpec, TestError};

/// How the demo ended.
#[derive(Debug)]
pub struct DemoSummary {
    /// Both honest releases were installed.
    pub installed: bool,
    /// Every attack.
    pub attacks: Vec<AttackResult>,
    /// Fetching and installing apart went as it should, where it was played.
    pub split_install: Option<bool>,
}

impl DemoSummary {
    /// Installed what it should and nothing else.
    pub fn is_good(&self) -> bool {
        let held = self.attacks.iter().all(|attack| attack.resisted);
        self.installed && held && self.split_install != Some(false)
    }
}

/// Plays the whole demo with two releases of `release_bytes`, and tells it to `out`. The cast begins with
/// an empty log; it goes on in copies of its stage, all of them below `from_directory`.
pub async fn run_script<C: DemoBackend>(
    mut cast: C,
    directory: &Path,
    artifact: &[u8],
    out: &mut impl Write,
) -> Result<DemoSummary, TestError> {
    writeln!(
        out,
        "A circle: a publisher with three keys (two must sign), a log, {PEERS} peers, a client."
    )?;
    writeln!(out, "{}\n", C::DESCRIPTION)?;
    let first = run_release(&mut cast, &ReleaseSpec::new(1, "1.0.0", artifact), out).await?;

    let mut honest = cast.resume_in(&directory.join("honest")).await?;
    let next = [artifact, b"\nthe second release\n"].concat();
    let second = run_release(&mut honest, &ReleaseSpec::new(2, "1.1.0", &next), out).await?;
    let current = fs::read(honest.fixture().install_root().join("current/hello"))?;
    drop(honest);
    writeln!(out, "`current/hello` is byte for byte the second release: {}\n", current == next)?;

    writeln!(
        out,
        "Now the attacks, each on a fresh copy of the circle with release 1 installed:\n"
    )?;
    let mut attacks = Vec::new();
    for (i, attack) in Attack::ALL.into_iter().enumerate() {
        let place = directory.join(format!("attack-{:02}", i + 1));
        let attacked = attack.run(cast.resume_in(&place).await?).await?;
        let mark = match &attacked {
            AttackResult { updated: true, .. } => "in vain",
            AttackResult { resisted: true, .. } => "refused",
            _ => "NOT HELD",
        };
        writeln!(out, "{mark}  {}", attacked.title)?;
        if attacked.updated {
            writeln!(
                out,
                "           the honest release was read from the peers, and nothing else:"
            )?;
        }
        for line in attacked.message.lines() {
            writeln!(out, "           {}", line.trim_start())?;
        }
        if let Some(evidence) = &attacked.evidence {
            let path = place.join("evidence.txt");
            fs::write(&path, evidence.to_string())?;
        }
        attacks.push(attacked);
    }
    let held = attacks.iter().filter(|attack| attack.resisted).count();
    writeln!(
        out,
        "\n{held} of {} attacks were refused or in vain, and nothing of theirs was installed.",
        attacks.len()
    )?;
    Ok(DemoSummary { installed: first && second && current == next, attacks, split_install: None })
}

/// What to look at in a directory in which the demo was played, as commands of `program`.
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
    // Only some casts play that.
    let apart = directory.join("apart").exists();
    let apart = apart.then(|| format!("--config {} status", at("apart/client/unanimity.toml")));
    let commands = commands.into_iter().chain(apart);
    let commands: Vec<String> =
        commands.map(|command| format!("{} {command}\n", shell_quote(program))).collect();
    format!("\nEverything is in {}. To look at:\n{}", directory.display(), commands.concat())
}

/// A word as a shell takes it.
fn shell_quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+~".contains(c);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Publishes a release and follows it until it is installed.
async fn run_release(
    cast: &mut impl DemoBackend,
    draft: &ReleaseSpec,
    out: &mut impl Write,
) -> Result<bool, TestError> {
    let manifest = cast.fixture().publish_release("log", draft, cast.now())?;
    let head = cast.fixture().head_of("log")?;
    writeln!(out, "{}  release {} ({} bytes)", cast.now(), manifest.label(), draft.artifact.len())?;
    writeln!(out, "  signed     by publisher-a and publisher-b, offline")?;
    writeln!(out, "  logged     as entry {} ({head})", head.size() - 1)?;
    cast.poll_all_peers().await?;
    writeln!(
        out,
        "  polled     by {PEERS} peers, each from its own mirror, none because it was asked"
    )?;
    let waits = cast.run_client_update().await?;
    write_round(&waits, out)?;
    if waits.exit != Exit::Settling {
        writeln!(out, "  expected to wait for `settle`, and got: {}", waits.message)?;
        return Ok(false);
    }
    writeln!(out, "  {}", waits.message)?;
    let settle = cast.settle();
    cast.advance_time(settle + SECOND).await;
    cast.poll_all_peers().await?;
    writeln!(out, "{}  {} later", cast.now(), humantime::format_duration(settle))?;
    let ended = cast.run_client_update().await?;
    write_round(&ended, out)?;
    match cast.fixture().installed_version()? {
        Some(installed) if installed.sequence == draft.sequence => {
            writeln!(out, "  installed  current -> versions/{}\n", installed.release)?;
            Ok(true)
        }
        _ => {
            writeln!(out, "  expected to install, and got: {}\n", ended.message)?;
            Ok(false)
        }
    }
}

fn write_round(cycle: &CycleSummary, out: &mut impl Write) -> std::io::Result<()> {
    let (all, short) = (cycle.peers.len(), cycle.unconfirmed().len());
    let names: Vec<&str> = cycle.peers.iter().map(|(name, _)| name.as_str()).collect();
    let (size, names) = (cycle.size.unwrap_or(0), names.join(", "));
    writeln!(out, "  roll       {} of {all} confirm size {size}: {names}", all - short)
}
