//! `[tor]`: bridges are understood, and a private network's description leads nowhere else. Nothing
//! here connects: a service's address is all that is asked for.

use unanimity_config::OnionAddress;
use unanimity_config::tor_settings::{
    Bridges, NO_PUBLIC_NETWORK, PluggableTransport, TorNetwork, TorSettings,
};
use unanimity_testkit::scratch_dir::scratch_dir;
use unanimity_tor::{ServiceSettings, TorClient, TorError, service_address};

const PLAIN: &str = "192.0.2.66:443 8C00000DFE0046ABCDFAD191144399CB520C29E8";
const DISGUISED: &str = "obfs4 192.0.2.66:443 8C00000DFE0046ABCDFAD191144399CB520C29E8 iat-mode=0";

fn address(network: TorNetwork) -> Result<OnionAddress, TorError> {
    let place = scratch_dir();
    let (state, cache) = (place.path().join("state"), place.path().join("cache"));
    let hosting = ServiceSettings { nickname: "n".to_owned(), port: 4242, proof_of_work: false };
    service_address(&TorSettings { state, cache, network }, &hosting)
}

fn bridges(lines: &[&str], protocols: &[&str]) -> TorNetwork {
    let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    let path = "/usr/bin/lyrebird".into();
    let transport = PluggableTransport { protocols: owned(protocols), path };
    let transports = if protocols.is_empty() { Vec::new() } else { vec![transport] };
    TorNetwork::Public(Bridges { lines: owned(lines), transports })
}

#[test]
fn bridges_are_read_and_one_that_nothing_can_reach_is_refused() {
    if std::env::var_os(NO_PUBLIC_NETWORK).is_some() {
        let error = address(bridges(&[PLAIN], &[])).unwrap_err().to_string();
        return assert!(error.contains("refused"), "{error}");
    }
    for (lines, protocols) in [
        (&[][..], &[][..]),
        (&[PLAIN], &[]),
        (&[DISGUISED], &["obfs4"]),
        (&[PLAIN, DISGUISED], &["obfs4"]),
    ] {
        address(bridges(lines, protocols)).unwrap();
    }
    for (lines, protocols, why) in [
        (&["bridge"][..], &[][..], "bridges: \"bridge\""),
        (&[DISGUISED], &[], "transport"),
        (&[DISGUISED], &["snowflake"], "transport"),
        (&[DISGUISED], &["ob fs"], "transports: \"ob fs\""),
    ] {
        let error = address(bridges(lines, protocols)).unwrap_err().to_string();
        assert!(error.starts_with("[tor]") && error.contains(why), "{lines:?}: {error}");
    }
}

#[test]
fn a_private_network_s_description_leads_nowhere_else() {
    for table in ["bridges", "channel", "storage", "proxy", "logging", "use_obsolete_software"] {
        let text = format!("[{table}]\nx = 1\n");
        let error = address(TorNetwork::Private(text)).unwrap_err().to_string();
        assert!(error.contains(&format!("{table:?}")), "{error}");
    }
    for text in ["", "tor_network = 1", "not toml"] {
        assert!(matches!(
            address(TorNetwork::Private(text.to_owned())),
            Err(TorError::Settings(_))
        ));
    }
}

#[tokio::test]
async fn a_node_that_is_offline_has_an_address_and_no_tor() {
    address(TorNetwork::Offline).unwrap();
    let place = scratch_dir();
    let (state, cache) = (place.path().join("state"), place.path().join("cache"));
    let settings = TorSettings { state, cache, network: TorNetwork::Offline };
    let error = TorClient::new(&settings, None).unwrap_err().to_string();
    assert!(error.contains("offline"), "{error}");
}
