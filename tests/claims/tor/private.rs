//! Nothing here may reach the public network; and what Tor itself lacks has words of its own.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use unanimity_config::tor_settings::{TorNetwork as Network, TorSettings};
use unanimity_testkit::ReleaseSpec;
use unanimity_tor::TorClient;

use super::{TorTestWorld, peer_answers};

/// A private network of one relay and one authority.
fn network_config(relay: &str, authority: &str) -> String {
    let id = "A".repeat(40);
    let ed = "hReuzbHS+PIPnKq6y6WtjWMM5xMVKuMtS0PbOWvKhFM";
    format!(
        "[tor_network]\nfallback_caches = [{{ rsa_identity = \"{id}\", ed_identity = \"{ed}\", orports = [\"{relay}\"] }}]\n\
         [tor_network.authorities]\nv3idents = [\"{id}\"]\n\
         uploads = [[\"{authority}\"]]\ndownloads = [[\"{authority}\"]]\nvotes = [[\"{authority}\"]]\n"
    )
}

#[test]
fn a_private_network_that_is_not_on_loopback_is_refused_before_anything_starts() {
    let place = tempfile::tempdir().unwrap();
    let settings = |text: String| TorSettings {
        state: place.path().join("state"),
        cache: place.path().join("cache"),
        network: Network::Private(text),
    };
    let with = network_config;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    assert!(TorClient::new(&settings(with("127.0.0.1:9", "127.0.0.1:9")), None).is_ok());
    for (relay, authority) in [("192.0.2.1:9", "127.0.0.1:9"), ("127.0.0.1:9", "192.0.2.1:9")] {
        let error =
            TorClient::new(&settings(with(relay, authority)), None).unwrap_err().to_string();
        assert!(error.contains("192.0.2.1"), "{error}");
    }
    // Without relays or authorities of its own it would be the public network.
    let error = TorClient::new(&settings(String::new()), None).unwrap_err().to_string();
    assert!(error.contains("fallback_caches and authorities"), "{error}");
}

#[test]
fn where_the_public_network_is_refused_nothing_starts() {
    let circles = TorTestWorld::prepare(3);
    let place = circles.world.node_directory("elif");
    circles.world.configure("elif", 1).unwrap();
    let path = place.join("unanimity.toml");
    let text = fs::read_to_string(&path).unwrap();
    let (before, after) = text.split_once("[tor]\n").unwrap();
    // Were it not refused, this bridge would keep it on loopback: it knows no other way in.
    let bridge = format!("bridges = [\"127.0.0.1:9 {}\"]\n", "A".repeat(40));
    let serve = after.split_once("[serve]").unwrap().1;
    let public = format!("{before}[tor]\n{bridge}bootstrap_timeout = \"1s\"\n");
    let elif = circles.world.process("elif");
    // A node that only asks, and one that is asked as well.
    for (text, verbs) in
        [(public.clone(), &["check"][..]), (format!("{public}[serve]{serve}"), &["check", "serve"])]
    {
        fs::write(&path, text).unwrap();
        for verb in verbs {
            let ended = elif.run(&[verb]).unwrap();
            assert_eq!(ended.exit_code, 3, "{}", ended.report);
            let message = ended.report["message"].as_str().unwrap();
            assert!(message.contains("UNANIMITY_NO_PUBLIC_TOR"), "{message}");
        }
    }
    assert!(!place.join("state/tor").exists() && !place.join("state/tor-cache").exists());
}

#[test]
fn a_network_that_cannot_be_reached_is_called_that_and_no_peer_is_blamed() {
    let mut circles = TorTestWorld::prepare(3);
    let stage = circles.world.fixture.clone();
    stage.publish_release("log", &ReleaseSpec::new(1, "1.0.0", b"hello"), super::now()).unwrap();
    // Where somebody listened a moment ago.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = listener.local_addr().unwrap().to_string();
    drop(listener);
    let network = stage.directory.join("network.toml");
    fs::write(network, network_config(&nobody, &nobody)).unwrap();
    circles.replace_config_line("client", "[tor]", "[tor]\nbootstrap_timeout = \"3s\"");
    circles.replace_config_line("client", "ask_timeout", "ask_timeout = \"8s\"");
    circles.replace_config_line("client", "roll_timeout", "roll_timeout = \"8s\"");
    let check = |circles: &TorTestWorld| {
        let began = Instant::now();
        let ended = circles.client.run(&["check"]).unwrap();
        // Three seconds for Tor, eight for the roll.
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
        assert_eq!((ended.exit_code, ended.report["outcome"].as_str()), (12, Some("incomplete")));
        let message = ended.report["message"].as_str().unwrap();
        assert!(!message.contains("fork") && !message.contains("agree"), "{message}");
        let answers = peer_answers(&ended.report);
        assert_eq!(answers.len(), 3);
        for (who, answer) in answers {
            let why = answer.unwrap_err();
            assert!(why.contains("bootstrap: Tor is not connected yet"), "{who}: {why}");
        }
    };
    check(&circles);
    circles.client.serve().unwrap();
    check(&circles);
    let status = circles.client.run_json(&["status"]).unwrap();
    assert_eq!(status["serving"]["connected"], false, "{status}");
    assert_eq!(circles.installed(), None);
}
