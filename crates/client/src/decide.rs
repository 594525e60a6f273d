//! The decision of a cycle: whether a release can be installed, and which one. The client reads
//! everything before it decides anything.

use std::collections::BTreeSet;

use rand::Rng;
use unanimity_net::{Mirror, Transport};
use unanimity_protocol::decision::head_choice::HeadChoice;
use unanimity_protocol::{ConfirmedRelease, ProofBundle, Refusal, Round, SignedRelease, TreeHead};
use unanimity_state::LogForked;
use unanimity_storage::Clock;

use crate::tile_sources::TileSources;
use crate::{
    Client, ClientError, CycleError, CycleOutcome, CycleReport, MirrorProblem, link_heads, prove,
    read_log, round,
};

/// A release that can be installed, and the proof bundle with which others can verify that.
pub(crate) struct InstallPlan {
    pub(crate) release: Box<ConfirmedRelease>,
    pub(crate) proof: ProofBundle,
    /// The problem of the mirrors, if every mirror shows a smaller head than the client chose.
    pub(crate) stale: Option<MirrorProblem>,
    /// The sequences of withdrawn releases.
    pub(crate) withdrawn: BTreeSet<u64>,
}

impl InstallPlan {
    pub(crate) fn into_outcome(self) -> CycleOutcome {
        CycleOutcome::Available(self.release)
    }
}

impl<T: Transport, C: Clock> Client<'_, T, C> {
    /// Runs a cycle up to the decision. `None` if every peer agrees and there is no new release.
    pub(crate) async fn decide(
        &mut self,
        report: &mut CycleReport,
        rng: &mut impl Rng,
    ) -> Result<Option<InstallPlan>, CycleError> {
        // The second decision of a cycle keeps the remarks and refused entries of the first.
        let CycleReport { remarks, refused: refused_before, .. } = std::mem::take(report);
        *report =
            CycleReport { remarks, refused: refused_before.clone(), ..CycleReport::default() };
        if let Some(id) = self.evidence.find_unacknowledged()? {
            return Err(LogForked { id }.into());
        }
        self.check_clock()?;
        let config = self.config;
        let collected = round::collect_round(
            config,
            self.transport,
            self.clock,
            &self.downloader.progress,
            &self.state.largest_heads,
            &self.sharing,
            rng,
        )
        .await;
        report.peers = (collected.round.answers().iter())
            .map(|(peer, answer)| (peer.name.to_string(), answer.clone()))
            .collect();
        if let Some(evidence) = collected.evidence {
            return Err(self.latch(*evidence)?.into());
        }
        self.record_answers(&collected)?;
        let round = collected.round;

        let mirrors = self.downloader.sources.shuffled_mirrors(rng);
        let mirrors: Vec<&Mirror> = mirrors.iter().collect();
        let shown = read_log::read_checkpoints(&mirrors, &config.cycle.policy.log).await;
        report.mirrors =
            (shown.iter()).map(|(mirror, head)| (mirror.to_string(), head.clone())).collect();
        let sources = TileSources::new(config, self.transport, &mirrors);
        let mut heads = self.known_heads()?;
        heads.extend(collected.heads);
        heads.extend(shown.iter().filter_map(|(_, head)| head.clone().ok()));
        let trusted: Vec<TreeHead> = self.trusted_heads().cloned().collect();
        // The heads of the stored rounds are linked as well. Otherwise a settling release would
        // have to settle again.
        let rounds = self.state.rounds.iter().chain([&round]);
        let cosigned: Vec<TreeHead> = rounds
            .flat_map(Round::cosigned_heads)
            .map(|cosigned| cosigned.head().clone())
            .collect();
        let mut choice = HeadChoice::new(&mut heads, &trusted, &cosigned);
        let read = loop {
            let linked = match link_heads::link_heads(&mut choice, &sources).await {
                Ok(Some(linked)) => linked,
                Ok(None) => break None,
                Err(evidence) => return Err(self.latch(*evidence)?.into()),
            };
            let head = linked.consistent.head().clone();
            let common = round.common_size(&config.peers, &linked.consistent);
            let tiles = sources.starting_with(linked.source);
            let hosts = read_log::EntrySources {
                shown: &shown,
                peers: &self.downloader.sources.peers_covering(&round, &head),
            };
            let (state, policy, progress) =
                (&self.state, &config.cycle.policy, &self.downloader.progress);
            let reading =
                read_log::read_entries(hosts, tiles, state, policy, &head, common, progress).await;
            match reading {
                Err(why) if choice.unreadable() => {
                    let why = format!("ignored, because no peer confirms it: {head} ({why})");
                    report.remarks.push(why);
                }
                reading => break Some((linked, common, reading)),
            }
        };
        let newest = read.as_ref().map(|(linked, ..)| linked.consistent.head());
        let well_read = read.as_ref().and_then(|(_, _, reading)| reading.as_ref().ok());
        self.record_log_results(&shown, newest, well_read);
        let stale = self.check_mirrors(&shown, newest).err();
        let Some((link_heads::LinkedHeads { consistent, source, unlinked }, common, reading)) =
            read
        else {
            if let Some(stale) = stale {
                return Err(stale.into());
            }
            let why = |(mirror, head): &(&Mirror, Result<TreeHead, String>)| match head {
                Ok(head) => format!("{mirror}: its tiles do not prove its head ({head})"),
                Err(why) => format!("{mirror}: {why}"),
            };
            return Err(ClientError::Mirrors(shown.iter().map(why).collect()).into());
        };
        report.remarks.extend(unlinked.iter().map(|head| {
            format!(
                "a head signed by the log could not be proved consistent with the others: {head}"
            )
        }));
        report.head = Some(consistent.head().clone());
        for trusted in self.trusted_heads() {
            if !consistent.contains(trusted) {
                let not_linked = || ClientError::HeadNotLinked { trusted: trusted.clone() }.into();
                return Err(stale.map_or_else(not_linked, CycleError::Mirror));
            }
        }

        let reading = match (reading, &stale) {
            (Err(_), Some(stale)) => return Err(stale.clone().into()),
            (reading, _) => reading?,
        };
        self.learn_withdrawals(&reading.catalog)?;
        report.unknown_kinds = reading.unknown_kinds;
        let choice = reading.catalog.select_candidates(
            &config.cycle.policy,
            self.state.highest_installed,
            self.clock.now(),
        );
        let installed = self.root.installed()?;
        let withdrawal_check = installed.map_or(Ok(()), |installed| {
            reading.catalog.check_not_withdrawn(&installed.release, true)
        });
        let mut refused = reading.refused;
        for (index, refusal) in choice.refused {
            if !refused.iter().any(|(known, _)| *known == index) {
                refused.push((index, refusal));
            }
        }
        refused.retain(|(index, refusal)| self.is_unreported(*index, refusal));
        refused.retain(|(index, _)| !refused_before.iter().any(|(known, _)| known == index));
        refused.extend(refused_before);
        refused.sort_by_key(|(index, _)| *index);
        report.refused = refused;
        report.remarks.extend(withdrawal_check.as_ref().err().map(Refusal::to_string));

        if reading.catalog.is_empty() && self.state.highest_installed == 0 {
            let (product, channel) = (&config.cycle.policy.product, &config.cycle.policy.channel);
            report.remarks.push(format!("the log has no release of {product}, channel {channel}"));
        }
        let Some(common) = common else {
            report.remarks.extend(choice.candidates.first().map(waiting_remark));
            let unconfirmed = round.unconfirmed(&config.peers, &consistent, None);
            let incomplete = || Refusal::Incomplete(self.with_silent_since(unconfirmed)).into();
            return Err(stale.map_or_else(incomplete, CycleError::Mirror));
        };
        // Every peer agrees on the log up to `common`. Only now does the client store this result.
        let candidates = choice.candidates;
        // Entries beyond `common` are reported again, so that no single mirror can suppress a
        // report.
        self.state.reported = self.state.reported.max(common);
        self.adopt_head(&consistent, &round, common, reading.at_common_size, &candidates)?;

        let mut newest_state: Option<CycleError> = None;
        for signed in candidates {
            let index = signed.index();
            let tile_hosts = || sources.starting_with(source);
            let logged = prove::prove_inclusion(
                &signed,
                &consistent,
                self.state.head.as_ref(),
                tile_hosts(),
            )
            .await?;
            let earlier = self.earliest_round(&consistent, index);
            match logged.confirm(&consistent, &config.peers, &config.cycle.limits, earlier, &round)
            {
                Ok(confirmed) => {
                    let proof = prove::build_proof(&confirmed, config, tile_hosts()).await?;
                    let (release, withdrawn) = (Box::new(confirmed), reading.catalog.withdrawn());
                    return Ok(Some(InstallPlan { release, proof, stale, withdrawn }));
                }
                // Of all refused candidates, only the newest one's refusal is reported.
                Err(refusal) => {
                    let refusal = match refusal {
                        Refusal::Incomplete(unconfirmed) => {
                            report.remarks.push(waiting_remark(&signed));
                            Refusal::Incomplete(self.with_silent_since(unconfirmed))
                        }
                        other => other,
                    };
                    newest_state.get_or_insert(refusal.into());
                }
            }
        }
        withdrawal_check?;
        // Stale mirrors do not hold back an update, because peers serve the files that the mirrors
        // lack. Without an update, the cycle reports that the mirrors are stale.
        if let Some(failure) = stale.map(CycleError::Mirror).or(newest_state) {
            return Err(failure);
        }
        let first = report.refused.first().map(|(_, refusal)| refusal.clone());
        first.map_or(Ok(None), |refusal| Err(refusal.into()))
    }
}

fn waiting_remark(signed: &SignedRelease) -> String {
    format!("release {} waits for these peers", signed.manifest().label())
}
