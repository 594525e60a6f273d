//! Onion services and mirrors: when they are up.

use super::model::Environment;
use crate::Millis;
use crate::seed::Draws;

#[derive(Clone, Copy, Debug)]
enum Host {
    Onion,
    Mirror,
}

/// Whether a node's onion service, or its mirror, is up: now, and until when.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    host: Host,
    up: bool,
    until: Millis,
    drawn: u32,
}

impl Environment {
    /// A node's onion service as it is at the beginning.
    pub fn service(&self, node: u32) -> Service {
        self.first(Host::Onion, node)
    }

    /// A node's own mirror as it is at the beginning. Both roles of the node see this one mirror.
    pub fn mirror_service(&self, node: u32) -> Service {
        self.first(Host::Mirror, node)
    }

    fn first(&self, host: Host, node: u32) -> Service {
        let (draws, availability, _) = self.outages(host);
        let up = draws.unit(node.into(), 0) < availability;
        let mut service = Service { host, up, until: 0, drawn: 0 };
        // Exponential waits have no memory: the first is like every other.
        service.until = service.wait(self, node);
        service
    }

    /// What outages of a host are drawn from, how often it is up, and an outage's mean.
    fn outages(&self, host: Host) -> (&Draws, f64, Millis) {
        let scenario = &self.scenario;
        let mirrors = &scenario.mirrors;
        match host {
            Host::Onion => (&self.outages, scenario.availability, scenario.mean_outage),
            Host::Mirror => (&self.mirror_outages, mirrors.availability, mirrors.mean_outage),
        }
    }
}

impl Service {
    /// Whether it is up at a time, not before any time asked about earlier.
    pub fn is_up(&mut self, environment: &Environment, node: u32, at: Millis) -> bool {
        while self.until <= at {
            self.up = !self.up;
            self.until = self.until.saturating_add(self.wait(environment, node));
        }
        let (from, until) = environment.scenario.mirrors.within;
        self.up || matches!(self.host, Host::Mirror) && !(from..until).contains(&at)
    }

    /// What it was when that was last asked.
    pub fn was_up(&self) -> bool {
        self.up
    }

    fn wait(&mut self, environment: &Environment, node: u32) -> Millis {
        let (draws, availability, outage) = environment.outages(self.host);
        if availability >= 1.0 {
            return Millis::MAX / 2;
        }
        let outage = outage as f64;
        let mean = if self.up { outage * availability / (1.0 - availability) } else { outage };
        self.drawn += 1;
        let unit = draws.unit(node.into(), self.drawn.into());
        // A length that is no longer than anything is not the end of numbers.
        1 + ((-(1.0 - unit).ln() * mean) as Millis).min(Millis::MAX / 4)
    }
}
