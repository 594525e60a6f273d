//! What neither the log nor the alarm ever says: where peers are reached, and secret keys.

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

/// The name of a service: 56 characters of base32.
fn onion_name() -> String {
    let address = OnionAddress { key: [7; 32], port: 4242 }.to_string();
    address.split('.').next().unwrap().to_owned()
}

/// Whether there is enough of a secret in a text to search for it.
fn reveals(text: &str, secret: &str) -> bool {
    let (text, secret) = (text.to_lowercase(), secret.to_lowercase());
    secret.as_bytes().windows(16).any(|part| text.contains(str::from_utf8(part).unwrap()))
}

/// What an error says, in the log and to the alarm.
#[track_caller]
fn assert_redacted(error: impl Display, secret: &str) {
    let said = redact(&error);
    assert!(!reveals(&said, secret), "{said}");
    assert_eq!(redact(&said), said, "hidden once is hidden");
}

fn peers_file_error(text: &str) -> ConfigError {
    let place = scratch_dir();
    let path = place.path().join("peers.toml");
    fs::write(&path, text).unwrap();
    PeerList::load(&path).unwrap_err()
}

#[test]
fn an_address_is_hidden_however_it_was_mistyped() {
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
fn a_broken_circle_is_told_without_its_addresses_and_shown_with_them() {
    let address = format!("{}.onion", &onion_name()[1..]);
    let error = peers_file_error(&format!("[[peer]]\naddress = \"{address}\"\n"));
    assert!(error.to_string().contains(&address), "whoever is at the terminal has to see it");
    let failure = CycleError::Client(ClientError::Config(error));
    let message = status_of(Err(&failure)).message;
    assert!(!reveals(&message, &address), "{message}");
    assert!(message.contains("peers.toml") && message.contains("line 2"), "{message}");
}

#[test]
fn what_has_to_be_read_is_not_hidden() {
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
    // Without its ".onion", and with some of it missing.
    for length in 40..=56 {
        assert_eq!(redact(format!("at {}!", &onion_name()[..length])), "at [hidden]!");
    }
    assert_eq!(redact("a PRIVATE+KEY+x+1+y, a 'age-secret-key-1x' b"), "a [hidden] a '[hidden]' b");
}

/// Every parser of ours that might be given a secret key by mistake, and says what was wrong.
fn parser_errors(secret: &str) -> Vec<Box<dyn Error>> {
    let mut all: Vec<Box<dyn Error>> = Vec::new();
    let place = scratch_dir();
    let path = place.path().join("unanimity.toml");
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
        ("alarm", "command", &quoted),
        ("alarm", quoted.as_str(), &quoted),
        ("alarm", "", &quoted),
        (secret, "key", &quoted),
    ] {
        fs::write(&path, format!("[{table}]\n{field} = {value}\n")).unwrap();
        all.push(unanimity_config::load_node_config(&path).unwrap_err().into());
    }
    for field in ["name", "operator = 1", "address", "key", "discovery", "joining", secret] {
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
        unanimity_publish::read_statement(&write_private_file(place.path(), "note", secret))
            .err()
            .map(Into::into),
    );
    write_private_file(place.path(), "peer/identity.json", secret);
    all.push(Identity::read(place.path()).unwrap_err().into());
    all
}

fn write_private_file(place: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let (path, disk) = (place.join(name), Storage::default());
    disk.make_dir(path.parent().unwrap(), Mode::Private).unwrap();
    disk.write(&path, text.as_bytes(), Mode::Private).unwrap();
    path
}

#[test]
fn a_secret_key_in_the_wrong_file_is_in_neither_the_log_nor_the_alarm() {
    let name: KeyName = "a-publisher".parse().unwrap();
    let age = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
    for seed in 0..20 {
        let seed = [seed; 32].map(|byte: u8| byte.wrapping_mul(37));
        let note = NoteSigningKey::from_seed(name.clone(), &seed).to_private_key_line();
        let view = CosignatureSigningKey::from_seed(name.clone(), &seed).to_private_key_line();
        for secret in [&*note, &*view, age] {
            let all = parser_errors(secret);
            assert!(all.len() > 30, "{}", all.len());
            all.into_iter().for_each(|error| assert_redacted(error, secret));
        }
    }
}

/// A daemon, ended with the test.
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
fn a_daemon_whose_circle_breaks_logs_it_and_tells_its_alarm_without_the_address() {
    use unanimity_testkit::test_world::SECOND;
    let desk = crate::peers_command::two_nodes();
    let id = "A".repeat(40);
    // A network of nobody, on loopback.
    let nobody = "[\"127.0.0.1:9\"]";
    desk.write(
        "emil/network.toml",
        format!(
            "[tor_network]\nfallback_caches = [{{ rsa_identity = \"{id}\", ed_identity = \"hReuzbHS+PIPnKq6y6WtjWMM5xMVKuMtS0PbOWvKhFM\", orports = {nobody} }}]\n\
             [tor_network.authorities]\nv3idents = [\"{id}\"]\nuploads = [{nobody}]\ndownloads = [{nobody}]\nvotes = [{nobody}]\n"
        ),
    );
    let told = desk.read("emil/unanimity.toml").replace(
        "[tor]\noffline = true\n",
        "roll_min = \"1s\"\nroll_max = \"1s\"\n[tor]\nnetwork = \"network.toml\"\nbootstrap_timeout = \"1s\"\n\
         [alarm]\ncommand = [\"/bin/sh\", \"-c\", \"cat >> told\"]\nincomplete_after = \"0s\"\n",
    );
    desk.write("emil/unanimity.toml", told);
    let log = fs::File::create(desk.path().join("daemon.log")).unwrap();
    let mut command = desk.command("--config emil/unanimity.toml serve");
    let daemon = command.stdout(std::process::Stdio::null()).stderr(log).spawn().unwrap();
    let daemon = DaemonProcess(daemon);
    let until = |what: &dyn Fn() -> bool| {
        let begun = std::time::Instant::now();
        while !what() {
            assert!(begun.elapsed() < 60 * SECOND, "{}", desk.read("daemon.log"));
            std::thread::sleep(SECOND / 20);
        }
    };
    until(&|| desk.read("daemon.log").contains("serving"));
    let address = format!("{}.onion", &onion_name()[1..]);
    desk.write("emil/peers.toml", format!("[[peer]]\naddress = \"{address}\"\n"));
    let id = rustix::process::Pid::from_child(&daemon.0);
    let complains = |text: &str| text.contains("peers.toml: TOML parse error at line 2");
    until(&|| {
        rustix::process::kill_process(id, rustix::process::Signal::HUP).unwrap();
        let heard = fs::read_to_string(desk.path().join("told")).unwrap_or_default();
        complains(&desk.read("daemon.log")) && complains(&heard)
    });
    for said in [desk.read("daemon.log"), desk.read("told")] {
        assert!(!reveals(&said, &address), "{said}");
        assert!(said.contains("[hidden].onion"), "{said}");
    }
}
