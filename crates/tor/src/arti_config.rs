//! arti's configuration, made from [`TorSettings`].

use arti_client::TorClientConfig;
use arti_client::config::pt::TransportConfigBuilder;
use arti_client::config::{BridgeConfigBuilder, CfgPath, TorClientConfigBuilder};
use tor_linkspec::HasAddrs as _;
use unanimity_config::tor_settings::{
    Bridges, NO_PUBLIC_NETWORK, PluggableTransport, TorNetwork, TorSettings,
};

use crate::TorError;

/// The most bytes that are queued on all circuits together: 256 MiB. Beyond that, arti closes the
/// circuits with the oldest bytes. So a peer that does not read cannot choose our memory use.
const MAX_QUEUED_BYTES: usize = 256 * 1024 * 1024;

/// The tables that the description of a private network may have. Other tables, such as bridges or
/// a proxy, could lead to hosts outside the machine.
const PRIVATE_TABLES: [&str; 6] = [
    "address_filter",
    "circuit_timing",
    "override_net_params",
    "path_rules",
    "preemptive_circuits",
    "tor_network",
];

/// Makes arti's configuration. Refuses a private network with an address that is not on loopback.
pub(crate) fn build_config(settings: &TorSettings) -> Result<TorClientConfig, TorError> {
    let refused = |error: &dyn std::fmt::Display| TorError::Settings(error.to_string());
    let mut builder = match &settings.network {
        TorNetwork::Public(_) if std::env::var_os(NO_PUBLIC_NETWORK).is_some() => {
            let why = format!("the public network is refused, because {NO_PUBLIC_NETWORK} is set");
            return Err(TorError::Settings(why));
        }
        TorNetwork::Public(bridges) => public_config(bridges)?,
        TorNetwork::Private(text) => private_config(text)?,
        // An offline node only reads its own address. `TorClient::new` refuses to run offline.
        TorNetwork::Offline => TorClientConfigBuilder::default(),
    };
    let storage = builder.storage();
    storage.state_dir(CfgPath::new_literal(&settings.state));
    storage.cache_dir(CfgPath::new_literal(&settings.cache));
    builder.address_filter().allow_onion_addrs(true);
    builder.system().memory().max(MAX_QUEUED_BYTES);
    let config = builder.build().map_err(|error| refused(&error))?;
    if let TorNetwork::Private(_) = settings.network {
        let dir_config = config.dir_mgr_config().map_err(|error| refused(&error))?;
        let authorities = dir_config.authorities();
        let authorities = [authorities.uploads(), authorities.downloads(), authorities.votes()];
        let first_hops = dir_config.fallbacks().iter().flat_map(|relay| relay.addrs());
        let addresses = authorities.into_iter().flatten().flatten().copied().chain(first_hops);
        if let Some(outside) = addresses.into_iter().find(|address| !address.ip().is_loopback()) {
            return Err(TorError::NotPrivate(outside.to_string()));
        }
    }
    Ok(config)
}

/// Makes the configuration for the public network. If bridges are configured, the client enters the
/// network only through them.
fn public_config(bridges: &Bridges) -> Result<TorClientConfigBuilder, TorError> {
    let mut builder = TorClientConfigBuilder::default();
    for line in &bridges.lines {
        let bad = |error| TorError::Settings(format!("bridges: {line:?}: {error}"));
        let bridge: BridgeConfigBuilder = line.parse().map_err(bad)?;
        builder.bridges().bridges().push(bridge);
    }
    for PluggableTransport { protocols, path } in &bridges.transports {
        let mut transport = TransportConfigBuilder::default();
        let parsed = protocols.iter().map(|protocol| {
            let bad = |error| TorError::Settings(format!("transports: {protocol:?}: {error}"));
            protocol.parse().map_err(bad)
        });
        transport.protocols(parsed.collect::<Result<_, _>>()?);
        transport.path(CfgPath::new_literal(path)).run_on_startup(true);
        builder.bridges().transports().push(transport);
    }
    Ok(builder)
}

/// Makes the configuration for a private network. The description must name its own authorities and
/// first hops. The caller checks that all of them are on loopback.
fn private_config(text: &str) -> Result<TorClientConfigBuilder, TorError> {
    let settings = |error: &dyn std::fmt::Display| TorError::Settings(error.to_string());
    let tables: toml::Table = toml::from_str(text).map_err(|error| settings(&error))?;
    if let Some(table) = tables.keys().find(|table| !PRIVATE_TABLES.contains(&table.as_str())) {
        let why = format!(
            "a private network's description cannot have the table {table:?}: it can have {}",
            PRIVATE_TABLES.join(", ")
        );
        return Err(TorError::Settings(why));
    }
    let mut builder: TorClientConfigBuilder =
        tables.try_into().map_err(|error| settings(&error))?;
    let network = builder.tor_network();
    let caches = network.opt_fallback_caches().as_ref().map_or(0, Vec::len);
    let authorities = network.authorities().opt_v3idents().as_ref().map_or(0, Vec::len);
    if caches == 0 || authorities == 0 {
        return Err(TorError::Settings(
            "a private network has to name its own fallback_caches and authorities".to_owned(),
        ));
    }
    let loopback = "127.0.0.1:*".parse().map_err(|error| settings(&error))?;
    builder.path_rules().set_reachable_addrs(vec![loopback]);
    Ok(builder)
}
