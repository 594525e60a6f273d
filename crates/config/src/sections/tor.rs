//! `[tor]`: which Tor network a node uses, its bridges, and the time limit of connecting.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::operator_file::Parsed;
use crate::tor_settings::{Bridges, PluggableTransport};
use crate::{ConfigErrorKind, TorNetwork, TorSettings};

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct TorTable {
    state: Option<PathBuf>,
    cache: Option<PathBuf>,
    network: Option<PathBuf>,
    bootstrap_timeout: Option<Parsed<humantime::Duration>>,
    #[serde(default)]
    bridges: Vec<String>,
    #[serde(default)]
    transports: Vec<TransportTable>,
    #[serde(default)]
    offline: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TransportTable {
    protocols: Vec<String>,
    path: PathBuf,
}

/// The most bytes of the description of a private network.
const MAX_NETWORK_BYTES: usize = 1024 * 1024;

/// The default of `bootstrap_timeout`. Connecting over a slow network takes a minute, and over
/// bridges it can take longer.
const BOOTSTRAP_TIMEOUT: Duration = Duration::from_secs(90);

impl TorTable {
    pub(crate) fn bootstrap_timeout(&self) -> Result<Duration, ConfigErrorKind> {
        let timeout = self.bootstrap_timeout.as_ref().map_or(BOOTSTRAP_TIMEOUT, |time| *time.0);
        if timeout < Duration::from_secs(1) || timeout > Duration::from_secs(15 * 60) {
            return Err(ConfigErrorKind::Tor("bootstrap_timeout is one second to 15 minutes"));
        }
        Ok(timeout)
    }

    pub(crate) fn validate(
        self,
        directory: &Path,
        state: &Path,
    ) -> Result<TorSettings, ConfigErrorKind> {
        let resolve = |path: Option<PathBuf>, default: &str| {
            path.map_or_else(|| state.join(default), |path| directory.join(path))
        };
        let network = match self.network {
            _ if self.offline => TorNetwork::Offline,
            Some(_) if !self.bridges.is_empty() || !self.transports.is_empty() => {
                return Err(ConfigErrorKind::Tor(
                    "bridges and transports are for the public network, and network names a private one: remove network, or bridges and transports",
                ));
            }
            Some(path) => {
                let path = directory.join(path);
                let text = unanimity_storage::read_at_most(&path, MAX_NETWORK_BYTES)?;
                let text = String::from_utf8(text);
                TorNetwork::Private(
                    text.map_err(|_| ConfigErrorKind::Tor("network: the file is not UTF-8 text"))?,
                )
            }
            None => {
                let transports = self.transports.into_iter().map(|transport| PluggableTransport {
                    protocols: transport.protocols,
                    path: directory.join(transport.path),
                });
                let transports = transports.collect();
                TorNetwork::Public(Bridges { lines: self.bridges, transports })
            }
        };
        Ok(TorSettings {
            state: resolve(self.state, "tor"),
            cache: resolve(self.cache, "tor-cache"),
            network,
        })
    }
}
