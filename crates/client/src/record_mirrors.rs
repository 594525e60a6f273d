//! How mirrors did in this cycle, and which come last for it. One cycle is one failure at most, and a
//! success only if it was none.

use std::collections::BTreeSet;

use unanimity_net::{Mirror, Transport};
use unanimity_protocol::{Refusal, TreeHead};
use unanimity_storage::Clock;

use crate::{Client, CycleError, MirrorProblem, read_log};

impl<T: Transport, C: Clock> Client<'_, T, C> {
    /// Judges the mirrors anew.
    pub(crate) fn begin_cycle(&mut self) {
        self.scores.failed.clear();
        let known: BTreeSet<String> =
            self.downloader.sources.mirrors.iter().map(|mirror| mirror.to_string()).collect();
        self.scores.unsaved |= self.state.mirror_backoff.retain(|name| known.contains(name));
        let now = self.clock.now();
        let in_penance = |name: &String| self.state.mirror_backoff.backoff(name, now).is_some();
        self.downloader.sources.deprioritized = known.into_iter().filter(in_penance).collect();
    }

    /// Stores what was learned of them, if nothing else has. Of a fork, nothing is stored but the
    /// evidence.
    pub(crate) fn end_cycle<O>(&mut self, ended: Result<O, CycleError>) -> Result<O, CycleError> {
        let fork =
            matches!(&ended, Err(CycleError::Refused(Refusal::Fork(_)) | CycleError::LogForked(_)));
        if fork || !self.scores.unsaved {
            return ended;
        }
        match (self.save(), ended) {
            (Err(error), Ok(_)) => Err(error.into()),
            (_, ended) => ended,
        }
    }

    /// Takes down how a mirror did. Peers are judged by other means.
    pub(crate) fn record_mirror_result(&mut self, name: String, did_well: bool) {
        if self.downloader.sources.mirrors.iter().all(|mirror| mirror.to_string() != name) {
            return;
        }
        if did_well {
            let is_forgiven = !self.scores.failed.contains(&name)
                && self.state.mirror_backoff.record_success(&name);
            self.scores.unsaved |= is_forgiven;
        } else if self.scores.failed.insert(name.clone()) {
            self.state.mirror_backoff.record_failure(&name, self.clock.now());
            self.downloader.sources.deprioritized.insert(name);
            self.scores.unsaved = true;
        }
    }

    /// The same of what they showed of the log: it may not have been read, or be stale beside the
    /// newest head; and the entries may be others.
    pub(crate) fn record_log_results(
        &mut self,
        shown: &[(&Mirror, Result<TreeHead, String>)],
        newest: Option<&TreeHead>,
        reading: Option<&read_log::LogReading>,
    ) {
        for (mirror, head) in shown {
            let is_bad =
                |reading: &read_log::LogReading| reading.failed.contains(&mirror.to_string());
            match (head, newest) {
                (Err(_), _) => self.record_mirror_result(mirror.to_string(), false),
                // Nobody's tiles hash up to anything: that may be anybody's fault.
                (Ok(_), None) => {}
                (Ok(head), Some(newest)) => {
                    let is_stale = head.size() < newest.size();
                    self.record_mirror_result(
                        mirror.to_string(),
                        !is_stale && !reading.is_some_and(is_bad),
                    );
                }
            }
        }
    }

    /// Names the mirrors when all of them show less than others have: a rollback below what we
    /// trust, or a frozen world.
    pub(crate) fn check_mirrors(
        &self,
        shown: &[(&Mirror, Result<TreeHead, String>)],
        newest: Option<&TreeHead>,
    ) -> Result<(), MirrorProblem> {
        let best = shown
            .iter()
            .filter_map(|(mirror, head)| Some((mirror, head.as_ref().ok()?.size())))
            .max_by_key(|(_, size)| *size);
        let Some((mirror, shown)) = best else { return Ok(()) };
        let mirror = mirror.to_string();
        let trusted = self.trusted_heads().map(TreeHead::size).max().unwrap_or(0);
        let newest = newest.map_or(0, TreeHead::size);
        if shown < trusted {
            Err(MirrorProblem::Rollback { mirror, shown, known: trusted })
        } else if shown < newest {
            Err(MirrorProblem::Stale { mirror, shown, known: newest })
        } else {
            Ok(())
        }
    }
}
