//! Private Tor networks: no test reaches the public one, and failures of Tor have messages of their
//! own.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use unanimity_config::tor_settings::{TorNetwork as Network, TorSettings};
use unanimity_testkit::ReleaseSpec;
use unanimity_tor::TorClient;

use super::{TorTestWorld, peer_answers, without_details};
use crate::messages::Messages;

/// The configuration of a private network with one relay and one authority.
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
fn a_private_network_outside_loopback_is_refused_at_the_start() {
    let scratch = tempfile::tempdir().unwrap();
    let settings = |text: String| TorSettings {
        state: scratch.path().join("state"),
        cache: scratch.path().join("cache"),
        network: Network::Private(text),
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    assert!(TorClient::new(&settings(network_config("127.0.0.1:9", "127.0.0.1:9")), None).is_ok());
    let mut messages = Messages::new(scratch.path());
    // The empty network would be the public one.
    for (case, text) in [
        ("relay", network_config("192.0.2.1:9", "127.0.0.1:9")),
        ("authority", network_config("127.0.0.1:9", "192.0.2.1:9")),
        ("empty", String::new()),
    ] {
        let error = TorClient::new(&settings(text), None).unwrap_err();
        messages.add(case, &error.to_string());
    }
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/private_network.txt"]);
}

#[test]
fn a_node_that_may_not_use_the_public_network_does_not_start() {
    let world = TorTestWorld::prepare(3);
    let directory = world.onion.node_directory("elif");
    world.onion.configure("elif", 1).unwrap();
    let path = directory.join("unanimity.toml");
    let text = fs::read_to_string(&path).unwrap();
    let (before, after) = text.split_once("[tor]\n").unwrap();
    // If the node started all the same, this bridge on loopback would be its only way into Tor.
    let bridge = format!("bridges = [\"127.0.0.1:9 {}\"]\n", "A".repeat(40));
    let serve = after.split_once("[serve]").unwrap().1;
    let public = format!("{before}[tor]\n{bridge}bootstrap_timeout = \"1s\"\n");
    let elif = world.onion.process("elif");
    let mut messages = Messages::new(world.directory.path());
    // A client, and a node that is a witness too.
    for (text, verbs) in
        [(public.clone(), &["check"][..]), (format!("{public}[serve]{serve}"), &["check", "serve"])]
    {
        fs::write(&path, text).unwrap();
        for verb in verbs {
            let result = elif.run(&[verb]).unwrap();
            assert_eq!(result.exit_code, 3, "{}", result.report);
            messages.add(verb, result.report["message"].as_str().unwrap());
        }
    }
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/public_network.txt"]);
    assert!(!directory.join("state/tor").exists() && !directory.join("state/tor-cache").exists());
}

#[test]
fn an_unreachable_network_is_named_and_no_peer_is_blamed() {
    let mut world = TorTestWorld::prepare(3);
    let fixture = world.onion.fixture.clone();
    fixture.publish_release("log", &ReleaseSpec::new(1, "1.0.0", b"hello"), super::now()).unwrap();
    // A port of loopback on which no process listens any more.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = listener.local_addr().unwrap().to_string();
    drop(listener);
    let network = fixture.directory.join("network.toml");
    fs::write(network, network_config(&closed, &closed)).unwrap();
    world.replace_config_line("client", "[tor]", "[tor]\nbootstrap_timeout = \"3s\"");
    world.replace_config_line("client", "ask_timeout", "ask_timeout = \"8s\"");
    world.replace_config_line("client", "round_timeout", "round_timeout = \"8s\"");
    let mut messages = Messages::new(world.directory.path());
    let mut check = |case: &str, world: &TorTestWorld| {
        let began = Instant::now();
        let result = world.client.run(&["check"]).unwrap();
        // Three seconds for Tor, and eight for the round.
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
        assert_eq!((result.exit_code, result.report["outcome"].as_str()), (12, Some("incomplete")));
        let message = result.report["message"].as_str().unwrap();
        assert!(!message.contains("fork") && !message.contains("agree"), "{message}");
        let answers = peer_answers(&result.report);
        assert_eq!(answers.len(), 3);
        for (name, answer) in answers {
            messages.add(&format!("{case}, {name}"), without_details(&answer.unwrap_err()));
        }
    };
    check("alone", &world);
    world.client.serve().unwrap();
    check("daemon", &world);
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/no_network.txt"]);
    let status = world.client.run_json(&["status"]).unwrap();
    assert_eq!(status["serving"]["connected"], false, "{status}");
    assert_eq!(world.installed(), None);
}
