//! Faults over time: which node has which fault when, reachability, and absences.

use std::ops::Range;

use super::model::Environment;
use crate::Millis;
use crate::scenario::fault::{Fault, FaultKind};
use crate::trace::TraceHead;

const HOUR: Millis = 3_600_000;

impl Environment {
    /// The faults of a node at a time, in the scenario's order.
    pub fn faults_at(&self, node: u32, at: Millis) -> impl Iterator<Item = FaultKind> {
        self.faults_during(node, at, at).map(|fault| fault.kind)
    }

    /// The faults that a node has during a whole period, both ends included.
    fn faults_during(
        &self,
        node: u32,
        from: Millis,
        until: Millis,
    ) -> impl Iterator<Item = &Fault> {
        let lasts = move |fault: &&Fault| fault.from <= from && until < fault.until;
        self.scenario.faults.iter().filter(lasts).filter(move |fault| self.affects(fault, node))
    }

    /// The fault of a peer's answers to a client that connects at a time. A colluding peer has no
    /// fault towards the clients that it lies to.
    pub fn peer_fault(&self, peer: u32, client: u32, at: Millis) -> Option<FaultKind> {
        let kind = self.faults_at(peer, at).find(|kind| kind.is_peer_fault())?;
        (!self.lies_to(peer, client)).then_some(kind)
    }

    /// The fault of the files that a node's mirror sends.
    pub fn mirror_fault(&self, node: u32, at: Millis) -> Option<FaultKind> {
        self.faults_at(node, at).find(|kind| kind.is_mirror_fault())
    }

    /// Whether a single fault keeps a client from reaching a peer during the whole period from
    /// `from` to `until`.
    pub fn is_partitioned(&self, client: u32, peer: u32, from: Millis, until: Millis) -> bool {
        let all = self.scenario.faults.iter();
        let mut lasting = all.filter(|fault| fault.from <= from && until < fault.until);
        lasting.any(|fault| match fault.kind {
            FaultKind::Cut => self.affects(fault, client),
            FaultKind::Unreachable => self.affects(fault, peer),
            FaultKind::Partition => self.affects(fault, client) != self.affects(fault, peer),
            _ => false,
        })
    }

    /// Whether a node is off at a time.
    pub fn is_offline(&self, node: u32, at: Millis) -> bool {
        self.first_offline_at(node, at, at).is_some()
    }

    /// The first moment from `from` to `until`, both included, at which a node is off.
    pub fn first_offline_at(&self, node: u32, from: Millis, until: Millis) -> Option<Millis> {
        self.offline_faults(node)
            .filter(|off| off.start <= until && from < off.end)
            .map(|off| off.start.max(from))
            .min()
    }

    fn offline_faults(&self, node: u32) -> impl Iterator<Item = Range<Millis>> {
        let faults = self.scenario.faults.iter().filter(|fault| fault.kind == FaultKind::Off);
        faults.filter(move |fault| self.affects(fault, node)).map(|fault| fault.from..fault.until)
    }

    /// The periods in which a node is off, in order of time. Adjacent and overlapping periods are
    /// merged.
    pub fn offline_periods(&self, node: u32) -> Vec<Range<Millis>> {
        let mut off: Vec<Range<Millis>> =
            self.offline_faults(node).filter(|off| !off.is_empty()).collect();
        off.sort_by_key(|off| off.start);
        let mut merged: Vec<Range<Millis>> = Vec::new();
        for off in off {
            match merged.last_mut() {
                Some(last) if off.start <= last.end => last.end = last.end.max(off.end),
                _ => merged.push(off),
            }
        }
        merged
    }

    /// The head of an hour before, if a peer with this fault cosigns it now: always for
    /// `StaleHead`, in every other minute for `Equivocate`.
    pub fn outdated_head(&self, kind: FaultKind, at: Millis) -> Option<TraceHead> {
        let is_odd = (at / 60_000) % 2 == 1;
        let is_outdated = kind == FaultKind::StaleHead || kind == FaultKind::Equivocate && is_odd;
        is_outdated.then(|| self.head_an_hour_before(at))
    }

    /// The head that an honest mirror showed an hour before.
    pub fn head_an_hour_before(&self, at: Millis) -> TraceHead {
        TraceHead { chain: 0, size: self.log_size(at.saturating_sub(HOUR)) }
    }

    /// Whether a fault ever affects a node's answers as a peer.
    pub fn is_ever_faulty_peer(&self, node: u32) -> bool {
        let mut faults = self.scenario.faults.iter();
        faults.any(|fault| fault.kind.is_peer_fault() && self.affects(fault, node))
    }

    /// Whether a fault affects a node. Each kind has its own draws, so removing one fault leaves
    /// the nodes of the others unchanged.
    fn affects(&self, fault: &Fault, node: u32) -> bool {
        self.fault_draws.unit(node.into(), fault.kind as u64) < fault.share
    }
}
