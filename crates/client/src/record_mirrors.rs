//! Recording which mirrors failed in a cycle, so that later reads ask those mirrors last.
//!
//! For a mirror, one cycle counts as at most one failure, and as a success only without a failure.

use std::collections::BTreeSet;

use unanimity_net::{Mirror, Transport};
use unanimity_protocol::{Refusal, TreeHead};
use unanimity_storage::Clock;

use crate::{Client, CycleError, MirrorProblem, read_log};

impl<T: Transport, C: Clock> Client<'_, T, C> {
    /// Starts a cycle: clears the failures of the last cycle, deprioritizes the mirrors that are in
    /// backoff, and forgets mirrors that are no longer configured.
    pub(crate) fn begin_cycle(&mut self) {
        self.scores.failed.clear();
        let known: BTreeSet<String> =
            self.downloader.sources.mirrors.iter().map(|mirror| mirror.to_string()).collect();
        self.scores.unsaved |= self.state.mirror_backoff.retain(|name| known.contains(name));
        let now = self.clock.now();
        let is_backing_off = |name: &String| self.state.mirror_backoff.backoff(name, now).is_some();
        self.downloader.sources.deprioritized = known.into_iter().filter(is_backing_off).collect();
    }

    /// Stores the results of the mirrors, if they are not stored yet, and returns the cycle's
    /// result. After a fork, nothing but the evidence is stored.
    pub(crate) fn end_cycle<O>(&mut self, result: Result<O, CycleError>) -> Result<O, CycleError> {
        let fork = matches!(
            &result,
            Err(CycleError::Refused(Refusal::Fork(_)) | CycleError::LogForked(_))
        );
        if fork || !self.scores.unsaved {
            return result;
        }
        match (self.save(), result) {
            (Err(error), Ok(_)) => Err(error.into()),
            (_, result) => result,
        }
    }

    /// Records whether the mirror `name` succeeded or failed. Does nothing if `name` is a peer.
    pub(crate) fn record_mirror_result(&mut self, name: String, succeeded: bool) {
        if self.downloader.sources.mirrors.iter().all(|mirror| mirror.to_string() != name) {
            return;
        }
        if succeeded {
            let was_cleared = !self.scores.failed.contains(&name)
                && self.state.mirror_backoff.record_success(&name);
            self.scores.unsaved |= was_cleared;
        } else if self.scores.failed.insert(name.clone()) {
            self.state.mirror_backoff.record_failure(&name, self.clock.now());
            self.downloader.sources.deprioritized.insert(name);
            self.scores.unsaved = true;
        }
    }

    /// Records the result of every mirror for the log. A mirror fails if its checkpoint cannot be
    /// read, if it is behind `newest`, or if its entries are missing or wrong.
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
                // No host's tiles prove any head, so the host at fault is unknown.
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

    /// Refuses mirrors that are all behind: behind the trusted head (rollback), or behind `newest`
    /// (stale). The refusal names the newest mirror.
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
