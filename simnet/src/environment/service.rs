//! Availability of onion services and mirrors over time.

use super::model::Environment;
use crate::Millis;
use crate::seed::Draws;

#[derive(Clone, Copy, Debug)]
enum ScheduledHost {
    OnionService,
    Mirror,
}

/// The state of a node's onion service or mirror, up or down, and when it changes next.
#[derive(Clone, Copy, Debug)]
pub struct ServiceSchedule {
    host: ScheduledHost,
    up: bool,
    until: Millis,
    drawn: u32,
}

impl Environment {
    /// The schedule of a node's onion service, at the beginning of the world.
    pub fn service(&self, node: u32) -> ServiceSchedule {
        self.initial_schedule(ScheduledHost::OnionService, node)
    }

    /// The schedule of a node's mirror, at the beginning of the world. The node's witness and its
    /// client use this mirror.
    pub fn mirror_service(&self, node: u32) -> ServiceSchedule {
        self.initial_schedule(ScheduledHost::Mirror, node)
    }

    fn initial_schedule(&self, host: ScheduledHost, node: u32) -> ServiceSchedule {
        let (draws, availability, _) = self.outage_parameters(host);
        let up = draws.unit(node.into(), 0) < availability;
        let mut service = ServiceSchedule { host, up, until: 0, drawn: 0 };
        // Exponential waits have no memory, so the first is drawn like every other.
        service.until = service.draw_wait(self, node);
        service
    }

    /// The draws for a host's outages, its availability, and the mean duration of an outage.
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
    /// Whether the service or mirror is up at `at`. Times must not decrease from call to call.
    pub fn is_up(&mut self, environment: &Environment, node: u32, at: Millis) -> bool {
        while self.until <= at {
            self.up = !self.up;
            self.until = self.until.saturating_add(self.draw_wait(environment, node));
        }
        let (from, until) = environment.scenario.mirrors.within;
        self.up || matches!(self.host, ScheduledHost::Mirror) && !(from..until).contains(&at)
    }

    /// Whether the service or mirror was up at the last call of [`ServiceSchedule::is_up`]. Ignores
    /// that mirrors have outages only in the scenario's period.
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
        // The limit keeps sums of times below the largest number.
        1 + ((-(1.0 - unit).ln() * mean) as Millis).min(Millis::MAX / 4)
    }
}
