//! Onion services and mirrors: when they are up.

use super::model::Environment;
use crate::Millis;
use crate::seed::Draws;

#[derive(Clone, Copy, Debug)]
enum ScheduledHost {
    OnionService,
    Mirror,
}

/// Whether a node's onion service, or its mirror, is up: now, and until when.
#[derive(Clone, Copy, Debug)]
pub struct ServiceSchedule {
    host: ScheduledHost,
    up: bool,
    until: Millis,
    drawn: u32,
}

impl Environment {
    /// A node's onion service as it is at the beginning.
    pub fn service(&self, node: u32) -> ServiceSchedule {
        self.initial_schedule(ScheduledHost::OnionService, node)
    }

    /// A node's own mirror as it is at the beginning. Both roles of the node see this one mirror.
    pub fn mirror_service(&self, node: u32) -> ServiceSchedule {
        self.initial_schedule(ScheduledHost::Mirror, node)
    }

    fn initial_schedule(&self, host: ScheduledHost, node: u32) -> ServiceSchedule {
        let (draws, availability, _) = self.outage_parameters(host);
        let up = draws.unit(node.into(), 0) < availability;
        let mut service = ServiceSchedule { host, up, until: 0, drawn: 0 };
        // Exponential waits have no memory: the first is like every other.
        service.until = service.draw_wait(self, node);
        service
    }

    /// What outages of a host are drawn from, how often it is up, and an outage's mean.
    fn outage_parameters(&self, host: ScheduledHost) -> (&Draws, f64, Millis) {
        let scenario = &self.scenario;
        let mirrors = &scenario.mirrors;
        match host {
            ScheduledHost::OnionService => {
                (&self.outage_draws, scenario.availability, scenario.mean_outage)
            }
            ScheduledHost::Mirror => {
                (&self.mirror_outage_draws, mirrors.availability, mirrors.mean_outage)
            }
        }
    }
}

impl ServiceSchedule {
    /// Whether it is up at a time, not before any time asked about earlier.
    pub fn is_up(&mut self, environment: &Environment, node: u32, at: Millis) -> bool {
        while self.until <= at {
            self.up = !self.up;
            self.until = self.until.saturating_add(self.draw_wait(environment, node));
        }
        let (from, until) = environment.scenario.mirrors.within;
        self.up || matches!(self.host, ScheduledHost::Mirror) && !(from..until).contains(&at)
    }

    /// What it was when that was last asked.
    pub fn was_up(&self) -> bool {
        self.up
    }

    fn draw_wait(&mut self, environment: &Environment, node: u32) -> Millis {
        let (draws, availability, outage) = environment.outage_parameters(self.host);
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
