//! The honest update, told stage by stage, and then every attack.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use super::Broken;
use super::attacks::{Attack, Attacked};
use super::world::{Draft, PEERS, World};
use crate::clock::Clock as _;
use crate::update::{Failure, Outcome, Report};
use crate::verify::{Refusal, Timestamp};

/// How the demo ended.
#[derive(Debug)]
pub struct Told {
    /// Both honest releases were installed.
    pub installed: bool,
    /// Every attack.
    pub attacks: Vec<Attacked>,
}

impl Told {
    /// Installed what it should and nothing else.
    pub fn is_good(&self) -> bool {
        self.installed && self.attacks.iter().all(|attack| attack.held)
    }
}

const SETTLE: Duration = Duration::from_secs(61 * 60);

/// Plays the whole demo in an empty directory, with two releases of `artifact`, and tells it to `out`.
pub async fn tell(
    directory: &Path,
    artifact: &[u8],
    seed: u64,
    now: Timestamp,
    out: &mut impl Write,
) -> Result<Told, Broken> {
    let mut world = World::create(&directory.join("honest"), seed, now)?;
    writeln!(
        out,
        "A circle: a publisher with three keys (two must sign), a log, {PEERS} peers, a client."
    )?;
    writeln!(
        out,
        "Everything below is the program's own code; only Tor and the clock are played.\n"
    )?;
    let first = release(&mut world, &Draft::new(1, "1.0.0", artifact), out).await?;

    world.write_config()?;
    let base = world.copy_to(&directory.join("base"))?;
    let next = [artifact, b"\nthe second release\n"].concat();
    let second = release(&mut world, &Draft::new(2, "1.1.0", &next), out).await?;
    let current = fs::read(world.config.install_root.join("current/hello"))?;
    writeln!(out, "`current/hello` is byte for byte the second release: {}\n", current == next)?;

    writeln!(
        out,
        "Now the attacks, each on a fresh copy of the circle with release 1 installed:\n"
    )?;
    let mut attacks = Vec::new();
    for (i, attack) in Attack::ALL.into_iter().enumerate() {
        let place = directory.join(format!("attack-{:02}", i + 1));
        let attacked = attack.run(base.copy_to(&place)?).await?;
        let mark = if attacked.held { "refused" } else { "NOT HELD" };
        writeln!(out, "{mark}  {}", attacked.title)?;
        for line in attacked.said.lines() {
            writeln!(out, "           {}", line.trim_start())?;
        }
        if let Some(evidence) = &attacked.evidence {
            let path = place.join("evidence.txt");
            fs::write(&path, evidence.to_string())?;
        }
        attacks.push(attacked);
    }
    let held = attacks.iter().filter(|attack| attack.held).count();
    writeln!(
        out,
        "\n{held} of {} attacks were refused, and nothing of theirs was installed.",
        attacks.len()
    )?;
    Ok(Told { installed: first && second && current == next, attacks })
}

/// What to look at in a directory in which the demo was played, as commands of `program`.
pub fn what_is_kept(program: &str, directory: &Path) -> String {
    let at = |path: &str| quoted(&directory.join(path).display().to_string());
    let (honest, forked) =
        (at("honest/client/unanimity.toml"), at("attack-04/client/unanimity.toml"));
    let (installed, proof) =
        (at("honest/client/hello/current/hello"), at("honest/client/hello/proofs/2-1.1.0"));
    let (log, key, evidence) =
        (at("honest/log"), at("honest/log.pub"), at("attack-04/evidence.txt"));
    let commands = [
        format!("--config {honest} status"),
        format!("--config {honest} verify {installed} --proof {proof}"),
        format!("log show {log} --log-key {key}"),
        format!("evidence verify {evidence} --log-key {key}"),
        format!("--config {forked} evidence show"),
    ];
    let commands = commands.map(|command| format!("{} {command}\n", quoted(program)));
    format!("\nEverything is in {}. To look at:\n{}", directory.display(), commands.concat())
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+~".contains(c);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Publishes a release and follows it until it is installed.
async fn release(world: &mut World, draft: &Draft, out: &mut impl Write) -> Result<bool, Broken> {
    let manifest = world.publish(draft)?;
    let head = world.head_of("log")?;
    writeln!(
        out,
        "{}  release {} ({} bytes)",
        world.clock.now(),
        manifest.label(),
        draft.artifact.len()
    )?;
    writeln!(out, "  signed     by publisher-a and publisher-b, offline")?;
    writeln!(out, "  logged     as entry {} ({head})", head.size() - 1)?;
    world.poll_all().await?;
    writeln!(
        out,
        "  polled     by {PEERS} peers, each from its own mirror, none because it was asked"
    )?;
    let (report, ended) = world.update().await;
    tell_roll(&report, out)?;
    let Err(Failure::Refused(waits @ Refusal::Settling { .. })) = ended else {
        writeln!(out, "  expected to wait for `settle`, and got {ended:?}")?;
        return Ok(false);
    };
    writeln!(out, "  {waits}")?;
    world.advance(SETTLE);
    world.poll_all().await?;
    writeln!(out, "{}  an hour later", world.clock.now())?;
    let (report, ended) = world.update().await;
    tell_roll(&report, out)?;
    match ended {
        Ok(Outcome::Installed(installed)) => {
            writeln!(out, "  installed  {}\n", installed.directory.display())?;
            Ok(true)
        }
        other => {
            writeln!(out, "  expected to install, and got {other:?}\n")?;
            Ok(false)
        }
    }
}

fn tell_roll(report: &Report, out: &mut impl Write) -> std::io::Result<()> {
    let confirmed = report.peers.iter().filter(|(_, answer)| answer.is_ok()).count();
    let names: Vec<&str> = report.peers.iter().map(|(name, _)| name.as_str()).collect();
    let head = report.head.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
    writeln!(
        out,
        "  roll       {confirmed} of {} agree on {head}: {}",
        names.len(),
        names.join(", ")
    )
}
