//! The verb `peers` without a network: invites, lists, and delayed removals.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::command_line::CliSandbox;

/// A sandbox with the nodes of two operators, dora and emil, that follow one log.
pub(crate) fn two_nodes() -> CliSandbox {
    let sandbox = CliSandbox::new();
    sandbox.publish_release();
    for name in ["dora", "emil"] {
        fs::create_dir(sandbox.path().join(name)).unwrap();
        sandbox.write(&format!("{name}/unanimity.toml"), node_toml(&sandbox, name));
        sandbox.write(&format!("{name}/peers.toml"), "# my friends\nmin_peers = 1\n");
    }
    sandbox
}

fn node_toml(sandbox: &CliSandbox, name: &str) -> String {
    let key = |name: &str| sandbox.read(&format!("{name}.key.pub")).trim().to_owned();
    format!(
        "[product]\nname = \"hello\"\nchannel = \"stable\"\n\
         [publisher]\nthreshold = 1\nkeys = [\"{}\"]\n\
         [log]\norigin = \"example.org/l\"\nkey = \"{}\"\nmirrors = [\"file:{}\"]\n\
         [install]\nroot = \"hello\"\nstate = \"state\"\n\
         [serve]\nname = \"{name}\"\n[tor]\noffline = true\n",
        key("a"),
        key("log"),
        sandbox.path().join("log").display(),
    )
}

fn create_invite(sandbox: &CliSandbox, name: &str) -> String {
    sandbox.run_ok(&format!("--config {name}/unanimity.toml peers invite")).trim().to_owned()
}

#[test]
fn two_operators_pair_with_one_line_each() {
    let sandbox = two_nodes();
    let (dora, emil) = (create_invite(&sandbox, "dora"), create_invite(&sandbox, "emil"));
    assert_eq!(dora.lines().count(), 1);
    assert_eq!(dora, create_invite(&sandbox, "dora"), "the second invite is another one");

    let text = sandbox.run_ok(&format!("--config emil/unanimity.toml peers add {dora}"));
    assert!(text.contains(&emil), "without this node's own invite: {text}");
    sandbox.write("invite.txt", format!("\n  {emil}\n"));
    let text = sandbox
        .run_ok("--json --config dora/unanimity.toml peers add invite.txt --name em --operator e");
    let text: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((text["name"].as_str(), text["invite"].as_str()), (Some("em"), Some(&*dora)));

    // Both operators read the same digits aloud.
    let listed = sandbox.run_ok("--json --config dora/unanimity.toml peers list");
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let invited = sandbox.run_ok("--json --config emil/unanimity.toml peers invite");
    let invited: Value = serde_json::from_str(&invited).unwrap();
    assert_eq!(listed["peers"][0]["fingerprint"], invited["fingerprint"]);
    assert_eq!(listed["peers"][0]["membership"], "joining");
    assert!(sandbox.read("dora/peers.toml").starts_with("# my friends\nmin_peers = 1\n"));
    let status = sandbox.run("--config dora/unanimity.toml status");
    let (code, status) = (status.status.code(), String::from_utf8(status.stdout).unwrap());
    assert_eq!(code, Some(3), "a joining peer counts: {status}");
    let mut messages = sandbox.messages();
    messages.add("status", &status);
    let again = sandbox.run_err(2, &format!("--config emil/unanimity.toml peers add {dora}"));
    messages.add("add again", &again);
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/pairing.txt"]);
}

#[test]
fn add_prints_the_entry_when_it_cannot_write_peers_toml() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let sandbox = two_nodes();
    let emil = create_invite(&sandbox, "emil");
    let list = sandbox.path().join("dora/peers.toml");
    std::os::unix::fs::chown(&list, Some(54_321), None).unwrap();
    let text = sandbox.run_err(6, &format!("--config dora/unanimity.toml peers add {emil}"));
    let (_, block) = text.split_once("What belongs at its end:\n\n").unwrap();
    sandbox.write("dora/peers.toml", format!("min_peers = 1\n\n{block}"));
    let listed = sandbox.run_ok("--config dora/unanimity.toml peers list");
    let mut messages = sandbox.messages();
    messages.add("list", &without_fingerprints(&listed));
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/added_by_hand.txt"]);
}

#[test]
fn an_invite_can_be_printed_as_a_qr_code() {
    let sandbox = two_nodes();
    let drawn = sandbox.run_ok("--config dora/unanimity.toml peers invite --qr");
    let (line, code) = drawn.split_once('\n').unwrap();
    assert_eq!(line, create_invite(&sandbox, "dora"));
    assert!(code.lines().count() > 20, "{code}");
}

#[test]
fn a_malformed_or_useless_invite_lists_no_peer() {
    let sandbox = two_nodes();
    let (dora, emil) = (create_invite(&sandbox, "dora"), create_invite(&sandbox, "emil"));
    let before = sandbox.read("dora/peers.toml");
    let add = |invite: &str| {
        sandbox.run_err(8, &format!("--config dora/unanimity.toml peers add {invite}"))
    };
    let mut messages = sandbox.messages();
    messages.add("own invite", &add(&dora));
    messages.add("cut off", &add(&emil[..emil.len() - 1]));
    messages.add("no file", &add("nowhere.txt"));
    sandbox.write("empty", "");
    messages.add("empty file", &add("empty"));
    messages.add("too long", &add(&format!("unanimity-invite/{}", "x".repeat(100_000))));
    let other = sandbox.read("emil/unanimity.toml").replace("example.org/l", "example.org/m");
    sandbox.write("emil/unanimity.toml", other);
    fs::remove_dir_all(sandbox.path().join("emil/state")).unwrap();
    messages.add("other log", &add(&create_invite(&sandbox, "emil")));
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/refused_invites.txt"]);
    assert_eq!(sandbox.read("dora/peers.toml"), before);
}

#[test]
fn a_removed_peer_counts_until_the_delay_is_over() {
    let sandbox = two_nodes();
    let emil = create_invite(&sandbox, "emil");
    let mut messages = sandbox.messages();
    let dora = |line: &str| format!("--config dora/unanimity.toml peers {line}");
    sandbox.run_ok(&dora(&format!("add {emil}")));
    // The peer counts, as if its head had been compared.
    let peers = sandbox.read("dora/peers.toml");
    let peers: String =
        peers.lines().filter(|l| !l.starts_with("joining")).map(|l| format!("{l}\n")).collect();
    sandbox.write("dora/peers.toml", format!("{peers}{}", third_peer_toml(&sandbox)));

    messages.add("remove", &sandbox.run_ok(&dora("remove emil")));
    messages.add("status", &sandbox.run_ok("--config dora/unanimity.toml status"));
    let list = || without_fingerprints(&sandbox.run_ok(&dora("list")));
    messages.add("list, leaving", &list());
    sandbox.run_ok(&dora("cancel-removal emil"));
    messages.add("list, counted", &list());
    sandbox.run_err(2, &dora("cancel-removal emil"));
    sandbox.run_err(2, &dora("remove frieda"));

    sandbox.run_err(2, &dora("remove emil --immediately --confirm frida"));
    assert!(sandbox.read("dora/peers.toml").contains("\"emil\""));
    sandbox.run_ok(&dora("remove emil --immediately --confirm emil"));
    assert!(!sandbox.read("dora/peers.toml").contains("\"emil\""));
    assert!(sandbox.read("dora/peers.toml").starts_with("# my friends\n"));
    messages.add("list, removed", &list());
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/peers_remove.txt"]);
}

/// The lines of a list that have no fingerprint, which differs from run to run.
fn without_fingerprints(list: &str) -> String {
    let lines = list.lines().filter(|line| !line.starts_with("  "));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Makes a third node, frida. Returns its entry for a `peers.toml`.
fn third_peer_toml(sandbox: &CliSandbox) -> String {
    fs::create_dir(sandbox.path().join("frida")).unwrap();
    sandbox.write("frida/unanimity.toml", node_toml(sandbox, "frida"));
    sandbox.write("frida/peers.toml", "");
    let invite = create_invite(sandbox, "frida");
    let fields: Vec<&str> = invite.split(',').collect();
    format!(
        "\n[[peer]]\nname = \"frida\"\noperator = \"frida\"\naddress = \"{}\"\nkey = \"{}\"\nclient_auth = \"{}\"\n",
        fields[4], fields[5], fields[6]
    )
}

#[test]
fn a_node_without_serve_refuses_invite_and_serve() {
    let sandbox = two_nodes();
    let client = sandbox.read("dora/unanimity.toml").replace("[serve]\nname = \"dora\"\n", "");
    sandbox.write("dora/unanimity.toml", client);
    let mut messages = sandbox.messages();
    for verb in ["peers invite", "serve"] {
        messages.add(verb, &sandbox.run_err(3, &format!("--config dora/unanimity.toml {verb}")));
    }
    let text = sandbox.run_err(3, "--config emil/unanimity.toml serve");
    messages.add("serve offline", &text);
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/no_serve.txt"]);
    // The failed daemon has released the state.
    sandbox.run_ok("--config emil/unanimity.toml peers invite");
}

#[test]
fn only_serve_refuses_an_alert_command_that_cannot_run() {
    let sandbox = two_nodes();
    let plain = sandbox.read("emil/unanimity.toml");
    sandbox.write("alert", "#!/bin/sh\n");
    let program = sandbox.path().join("alert");
    let serve_with_command = |path: &Path| {
        sandbox.write("emil/unanimity.toml", format!("{plain}[alert]\ncommand = [{path:?}]\n"));
        sandbox.run_ok("--config emil/unanimity.toml peers invite");
        sandbox.run_err(3, "--config emil/unanimity.toml serve")
    };
    let mut messages = sandbox.messages();
    for path in [Path::new("/nowhere/alert"), &program, sandbox.path()] {
        messages.add("serve", &serve_with_command(path));
    }
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    messages.add("serve with a good command", &serve_with_command(&program));
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/alert_command.txt"]);
}

#[test]
fn a_node_cannot_be_renamed_without_new_keys() {
    let sandbox = two_nodes();
    create_invite(&sandbox, "dora");
    let renamed = sandbox.read("dora/unanimity.toml").replace("\"dora\"", "\"doro\"");
    sandbox.write("dora/unanimity.toml", renamed);
    let text = sandbox.run_err(7, "--config dora/unanimity.toml peers invite");
    let mut messages = sandbox.messages();
    messages.add("invite", &text);
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/renamed_node.txt"]);
}

#[test]
fn the_path_of_a_configuration_need_not_be_utf8() {
    use std::os::unix::ffi::OsStringExt as _;
    let sandbox = two_nodes();
    let name = std::ffi::OsString::from_vec(b"q\xff.toml".to_vec());
    fs::copy(sandbox.path().join("dora/unanimity.toml"), sandbox.path().join("dora").join(&name))
        .unwrap();
    let mut command = sandbox.command("peers list --config");
    let output = command.arg(sandbox.path().join("dora").join(&name)).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
