//! `[tor]`: bridges, private networks and offline nodes. No test connects: each only reads the
//! address of a service.

use unanimity_config::OnionAddress;
use unanimity_config::tor_settings::{
    Bridges, NO_PUBLIC_NETWORK, PluggableTransport, TorNetwork, TorSettings,
};
use unanimity_testkit::scratch_dir::scratch_dir;
use unanimity_tor::{ServiceSettings, TorClient, TorError, service_address};

const PLAIN: &str = "192.0.2.66:443 8C00000DFE0046ABCDFAD191144399CB520C29E8";
const DISGUISED: &str = "obfs4 192.0.2.66:443 8C00000DFE0046ABCDFAD191144399CB520C29E8 iat-mode=0";

fn address(network: TorNetwork) -> Result<OnionAddress, TorError> {
    let scratch = scratch_dir();
    let (state, cache) = (scratch.path().join("state"), scratch.path().join("cache"));
    let service = ServiceSettings { nickname: "n".to_owned(), port: 4242, proof_of_work: false };
    service_address(&TorSettings { state, cache, network }, &service)
}

fn bridges(lines: &[&str], protocols: &[&str]) -> TorNetwork {
    let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    let path = "/usr/bin/lyrebird".into();
    let transport = PluggableTransport { protocols: owned(protocols), path };
    let transports = if protocols.is_empty() { Vec::new() } else { vec![transport] };
    TorNetwork::Public(Bridges { lines: owned(lines), transports })
}

#[test]
fn settings_refuse_invalid_bridges_and_bridges_without_a_transport() {
    if std::env::var_os(NO_PUBLIC_NETWORK).is_some() {
        let error = address(bridges(&[PLAIN], &[])).unwrap_err().to_string();
        let names_the_reason = error.contains("refused") && error.contains(NO_PUBLIC_NETWORK);
        return assert!(names_the_reason, "{error}");
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
fn private_network_refuses_other_tables_and_invalid_toml() {
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
async fn offline_node_has_an_address_and_no_client() {
    address(TorNetwork::Offline).unwrap();
    let scratch = scratch_dir();
    let (state, cache) = (scratch.path().join("state"), scratch.path().join("cache"));
    let settings = TorSettings { state, cache, network: TorNetwork::Offline };
    let error = TorClient::new(&settings, None).unwrap_err();
    assert!(matches!(error, TorError::Settings(_)), "{error}");
    assert!(error.to_string().contains("offline"), "{error}");
}
