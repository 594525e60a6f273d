//! Redaction: neither the log nor an alert shows the onion addresses of peers or private keys.

use std::error::Error;
use std::fmt::Display;
use std::fs;
use std::path::Path;

use unanimity_client::{ClientError, CycleError, status_of};
use unanimity_config::{ConfigError, Invite, MirrorSpec, OnionAddress, PeerList};
use unanimity_protocol::key::KeyName;
use unanimity_protocol::{
    CosignatureSigningKey, CosignatureVerifyingKey, Hash, Manifest, Name, NoteSigningKey,
    NoteVerifyingKey, Origin, TreeHead,
};
use unanimity_report::redact;
use unanimity_state::Identity;
use unanimity_storage::{Mode, Storage};
use unanimity_testkit::sample_log::sample_log;
use unanimity_testkit::scratch_dir::scratch_dir;

/// The name of an onion service: 56 characters of base32.
fn onion_name() -> String {
    let address = OnionAddress { key: [7; 32], port: 4242 }.to_string();
    address.split('.').next().unwrap().to_owned()
}

/// Whether a text has 16 consecutive characters of a secret, which is enough to search for the
/// rest.
fn reveals(text: &str, secret: &str) -> bool {
    let (text, secret) = (text.to_lowercase(), secret.to_lowercase());
    secret.as_bytes().windows(16).any(|part| text.contains(str::from_utf8(part).unwrap()))
}

/// Asserts that an error shows nothing of a secret in the log or an alert.
#[track_caller]
fn assert_redacted(error: impl Display, secret: &str) {
    let text = redact(&error);
    assert!(!reveals(&text, secret), "{text}");
    assert_eq!(redact(&text), text, "redacting twice changes the text");
}

fn peers_file_error(text: &str) -> ConfigError {
    let scratch = scratch_dir();
    let path = scratch.path().join("peers.toml");
    fs::write(&path, text).unwrap();
    PeerList::load(&path).unwrap_err()
}

#[test]
fn a_mistyped_address_is_hidden() {
    let name = onion_name();
    let mut mistyped = vec![name.clone(), name.to_uppercase(), format!("{name}a")];
    for at in 0..name.len() {
        for typed in ["", "0", "1", "8", "9", "a", "A", "-", "é", "aa"] {
            let mut text = name.clone();
            text.replace_range(at..=at, typed);
            mistyped.push(text);
        }
    }
    for text in mistyped {
        for address in [format!("{text}.onion"), format!("http://www.{text}.onion:4242/log")] {
            if let Err(error) = address.parse::<OnionAddress>() {
                assert_redacted(error, &name);
            }
            assert_redacted(
                peers_file_error(&format!("[[peer]]\naddress = \"{address}\"\n")),
                &name,
            );
            assert_redacted(peers_file_error(&format!("[[peer]]\naddress = {address}\n")), &name);
        }
    }
}

#[test]
fn an_error_in_peers_toml_shows_addresses_on_the_terminal_only() {
    let address = format!("{}.onion", &onion_name()[1..]);
    let error = peers_file_error(&format!("[[peer]]\naddress = \"{address}\"\n"));
    assert!(
        error.to_string().contains(&address),
        "the operator at the terminal has to see the address"
    );
    let failure = CycleError::Client(ClientError::Config(error));
    let message = status_of(Err(&failure)).message;
    assert!(!reveals(&message, &address), "{message}");
    let (_, message) = message.split_once("peers.toml").unwrap();
    snapbox::assert_data_eq!(message, snapbox::file!["words/hidden_peers_toml_error.txt"]);
}

#[test]
fn redaction_keeps_hashes_paths_and_prose() {
    let id = Hash::digest(b"evidence").hex();
    for text in [
        format!("fork: evidence {id} is kept"),
        "cannot use /home/o/.local/share/unanimity/state/peer/identity.json: os error 13".into(),
        "expected 56 characters of a-z and 2-7, '.onion', and optionally ':PORT'".into(),
        "run the same version on both sides\n\tnaïve “quotes”".into(),
        String::new(),
    ] {
        assert_eq!(redact(&text), text);
    }
    // A name without ".onion", or with a part missing, is hidden too.
    for length in 40..=56 {
        assert_eq!(redact(format!("at {}!", &onion_name()[..length])), "at [hidden]!");
    }
    assert_eq!(redact("a PRIVATE+KEY+x+1+y, a 'age-secret-key-1x' b"), "a [hidden] a '[hidden]' b");
}

/// The errors of every parser that might read a private key by mistake.
fn parser_errors(secret: &str) -> Vec<Box<dyn Error>> {
    let mut all: Vec<Box<dyn Error>> = Vec::new();
    let scratch = scratch_dir();
    let path = scratch.path().join("unanimity.toml");
    let quoted = format!("{secret:?}");
    let array = format!("[{quoted}]");
    for (table, field, value) in [
        ("product", "name", &quoted),
        ("publisher", "keys", &array),
        ("publisher", "threshold", &quoted),
        ("log", "origin", &quoted),
        ("log", "key", &quoted),
        ("log", "mirrors", &array),
        ("limits", "settle", &quoted),
        ("tor", "bridges", &quoted),
        ("serve", "name", &quoted),
        ("alert", "command", &quoted),
        ("alert", quoted.as_str(), &quoted),
        ("alert", "", &quoted),
        (secret, "key", &quoted),
    ] {
        fs::write(&path, format!("[{table}]\n{field} = {value}\n")).unwrap();
        all.push(unanimity_config::load_node_config(&path).unwrap_err().into());
    }
    for field in ["name", "operator = 1", "address", "key", "client_auth", "joining", secret] {
        all.push(peers_file_error(&format!("[[peer]]\n{field} = {quoted}\n")).into());
    }
    all.push(peers_file_error(secret).into());
    all.extend(secret.parse::<OnionAddress>().err().map(Into::into));
    all.extend(secret.parse::<MirrorSpec>().err().map(Into::into));
    all.extend(secret.parse::<NoteVerifyingKey>().err().map(Into::into));
    all.extend(secret.parse::<CosignatureVerifyingKey>().err().map(Into::into));
    all.extend(secret.parse::<Invite>().err().map(Into::into));
    all.extend(secret.parse::<Name>().err().map(Into::into));
    all.extend(secret.parse::<Origin>().err().map(Into::into));
    all.extend(NoteSigningKey::from_private_key_line(&format!("{secret}x")).err().map(Into::into));
    all.extend(Manifest::parse(secret).err().map(Into::into));
    all.extend(Manifest::parse(&format!("unanimity/release/v1\n{secret}\n")).err().map(Into::into));
    all.extend(TreeHead::verify(secret.as_bytes(), &sample_log()).err().map(Into::into));
    all.extend(
        unanimity_publish::read_statement(&write_private_file(scratch.path(), "note", secret))
            .err()
            .map(Into::into),
    );
    write_private_file(scratch.path(), "peer/identity.json", secret);
    all.push(Identity::read(scratch.path()).unwrap_err().into());
    all
}

fn write_private_file(scratch: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let (path, disk) = (scratch.join(name), Storage::default());
    disk.make_dir(path.parent().unwrap(), Mode::Private).unwrap();
    disk.write(&path, text.as_bytes(), Mode::Private).unwrap();
    path
}

#[test]
fn a_private_key_in_the_wrong_file_is_in_neither_log_nor_alert() {
    let name: KeyName = "a-publisher".parse().unwrap();
    let age = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
    for seed in 0..20 {
        let seed = [seed; 32].map(|byte: u8| byte.wrapping_mul(37));
        let note = NoteSigningKey::from_seed(name.clone(), &seed).to_private_key_line();
        let cosignature =
            CosignatureSigningKey::from_seed(name.clone(), &seed).to_private_key_line();
        for secret in [&*note, &*cosignature, age] {
            let all = parser_errors(secret);
            assert!(all.len() > 30, "{}", all.len());
            all.into_iter().for_each(|error| assert_redacted(error, secret));
        }
    }
}

/// A daemon, killed at the end of the test.
#[cfg(feature = "tor")]
struct DaemonProcess(std::process::Child);

#[cfg(feature = "tor")]
impl Drop for DaemonProcess {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[cfg(feature = "tor")]
#[test]
fn a_daemon_reports_broken_peers_toml_without_the_address() {
    use unanimity_testkit::test_world::SECOND;
    let sandbox = crate::peers_command::two_nodes();
    let id = "A".repeat(40);
    // A Tor network on loopback in which no relay listens.
    let no_relay = "[\"127.0.0.1:9\"]";
    sandbox.write(
        "emil/network.toml",
        format!(
            "[tor_network]\nfallback_caches = [{{ rsa_identity = \"{id}\", ed_identity = \"hReuzbHS+PIPnKq6y6WtjWMM5xMVKuMtS0PbOWvKhFM\", orports = {no_relay} }}]\n\
             [tor_network.authorities]\nv3idents = [\"{id}\"]\nuploads = [{no_relay}]\ndownloads = [{no_relay}]\nvotes = [{no_relay}]\n"
        ),
    );
    let config = sandbox.read("emil/unanimity.toml").replace(
        "[tor]\noffline = true\n",
        "round_interval_min = \"1s\"\nround_interval_max = \"1s\"\n[tor]\nnetwork = \"network.toml\"\nbootstrap_timeout = \"1s\"\n\
         [alert]\ncommand = [\"/bin/sh\", \"-c\", \"cat >> delivered\"]\nincomplete_after = \"0s\"\n",
    );
    sandbox.write("emil/unanimity.toml", config);
    let log = fs::File::create(sandbox.path().join("daemon.log")).unwrap();
    let mut command = sandbox.command("--config emil/unanimity.toml serve");
    let daemon = command.stdout(std::process::Stdio::null()).stderr(log).spawn().unwrap();
    let daemon = DaemonProcess(daemon);
    let until = |what: &dyn Fn() -> bool| {
        let begun = std::time::Instant::now();
        while !what() {
            assert!(begun.elapsed() < 60 * SECOND, "{}", sandbox.read("daemon.log"));
            std::thread::sleep(SECOND / 20);
        }
    };
    until(&|| sandbox.read("daemon.log").contains("serving"));
    let address = format!("{}.onion", &onion_name()[1..]);
    sandbox.write("emil/peers.toml", format!("[[peer]]\naddress = \"{address}\"\n"));
    let id = rustix::process::Pid::from_child(&daemon.0);
    let complains = |text: &str| text.contains("peers.toml: TOML parse error at line 2");
    until(&|| {
        rustix::process::kill_process(id, rustix::process::Signal::HUP).unwrap();
        let delivered = fs::read_to_string(sandbox.path().join("delivered")).unwrap_or_default();
        complains(&sandbox.read("daemon.log")) && complains(&delivered)
    });
    for text in [sandbox.read("daemon.log"), sandbox.read("delivered")] {
        assert!(!reveals(&text, &address), "{text}");
        assert!(text.contains("[hidden].onion"), "{text}");
    }
}
