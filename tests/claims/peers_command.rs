//! `peers`, as a person uses it: tickets, lists, and removals that take their time. No network.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::command_line::CliSandbox;

/// A desk with the nodes of two people who follow one log.
pub(crate) fn two_nodes() -> CliSandbox {
    let desk = CliSandbox::new();
    desk.publish_release();
    for who in ["dora", "emil"] {
        fs::create_dir(desk.path().join(who)).unwrap();
        desk.write(&format!("{who}/unanimity.toml"), node_toml(&desk, who));
        desk.write(&format!("{who}/peers.toml"), "# my friends\nmin_peers = 1\n");
    }
    desk
}

fn node_toml(desk: &CliSandbox, who: &str) -> String {
    let key = |name: &str| desk.read(&format!("{name}.key.pub")).trim().to_owned();
    format!(
        "[product]\nname = \"hello\"\nchannel = \"stable\"\n\
         [publisher]\nthreshold = 1\nkeys = [\"{}\"]\n\
         [log]\norigin = \"example.org/l\"\nkey = \"{}\"\nmirrors = [\"file:{}\"]\n\
         [install]\nroot = \"hello\"\nstate = \"state\"\n\
         [serve]\nname = \"{who}\"\n[tor]\noffline = true\n",
        key("a"),
        key("log"),
        desk.path().join("log").display(),
    )
}

fn create_invite(desk: &CliSandbox, who: &str) -> String {
    desk.run_ok(&format!("--config {who}/unanimity.toml peers invite")).trim().to_owned()
}

#[test]
fn two_people_pair_with_a_line_each() {
    let desk = two_nodes();
    let (dora, emil) = (create_invite(&desk, "dora"), create_invite(&desk, "emil"));
    assert_eq!(dora.lines().count(), 1);
    assert_eq!(dora, create_invite(&desk, "dora"), "it is the same the next time");

    let said = desk.run_ok(&format!("--config emil/unanimity.toml peers add {dora}"));
    assert!(said.contains(&emil), "it answers with its own: {said}");
    desk.write("ticket.txt", format!("\n  {emil}\n"));
    let said = desk
        .run_ok("--json --config dora/unanimity.toml peers add ticket.txt --name em --operator e");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((said["name"].as_str(), said["ticket"].as_str()), (Some("em"), Some(&*dora)));

    // Both read the same digits aloud.
    let listed = desk.run_ok("--json --config dora/unanimity.toml peers list");
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let invited = desk.run_ok("--json --config emil/unanimity.toml peers invite");
    let invited: Value = serde_json::from_str(&invited).unwrap();
    assert_eq!(listed["peers"][0]["fingerprint"], invited["fingerprint"]);
    assert_eq!(listed["peers"][0]["standing"], "joining");
    assert!(desk.read("dora/peers.toml").starts_with("# my friends\nmin_peers = 1\n"));
    let status = desk.run("--config dora/unanimity.toml status");
    let (code, status) = (status.status.code(), String::from_utf8(status.stdout).unwrap());
    assert_eq!(code, Some(3), "a peer that only joins makes no circle: {status}");
    assert!(
        status.contains("1 more are listed") && status.contains("installed   none"),
        "{status}"
    );
    let again = desk.run_err(2, &format!("--config emil/unanimity.toml peers add {dora}"));
    assert!(again.contains("listed already") && again.contains("nothing to do"), "{again}");
}

#[test]
fn who_may_not_write_to_the_list_is_told_what_belongs_there() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let desk = two_nodes();
    let emil = create_invite(&desk, "emil");
    let list = desk.path().join("dora/peers.toml");
    std::os::unix::fs::chown(&list, Some(54_321), None).unwrap();
    let said = desk.run_err(6, &format!("--config dora/unanimity.toml peers add {emil}"));
    let (_, block) = said.split_once("What belongs at its end:\n\n").unwrap();
    desk.write("dora/peers.toml", format!("min_peers = 1\n\n{block}"));
    let listed = desk.run_ok("--config dora/unanimity.toml peers list");
    assert!(listed.starts_with("emil  listed, and does not count until"), "{listed}");
    let end = "Nothing can be confirmed yet: 1 of these do not count yet, and min_peers is 1.\n";
    assert!(listed.ends_with(end), "{listed}");
}

#[test]
fn a_ticket_can_be_drawn() {
    let desk = two_nodes();
    let drawn = desk.run_ok("--config dora/unanimity.toml peers invite --qr");
    let (line, code) = drawn.split_once('\n').unwrap();
    assert_eq!(line, create_invite(&desk, "dora"));
    assert!(code.lines().count() > 20, "{code}");
}

#[test]
fn what_is_no_ticket_or_of_no_use_lists_nobody() {
    let desk = two_nodes();
    let (dora, emil) = (create_invite(&desk, "dora"), create_invite(&desk, "emil"));
    let before = desk.read("dora/peers.toml");
    let add =
        |ticket: &str| desk.run_err(8, &format!("--config dora/unanimity.toml peers add {ticket}"));
    assert!(add(&dora).contains("own ticket"));
    assert!(add(&emil[..emil.len() - 1]).contains("checksum"));
    assert!(add("nowhere.txt").contains("neither a ticket nor a file"));
    desk.write("empty", "");
    assert!(add("empty").contains("not a ticket"));
    assert!(add(&format!("unanimity-ticket/{}", "x".repeat(100_000))).contains("longer than"));
    let other = desk.read("emil/unanimity.toml").replace("example.org/l", "example.org/m");
    desk.write("emil/unanimity.toml", other);
    fs::remove_dir_all(desk.path().join("emil/state")).unwrap();
    assert!(add(&create_invite(&desk, "emil")).contains("example.org/m"));
    assert_eq!(desk.read("dora/peers.toml"), before);
}

#[test]
fn a_peer_is_not_dropped_in_a_hurry() {
    let desk = two_nodes();
    let emil = create_invite(&desk, "emil");
    let dora = |line: &str| format!("--config dora/unanimity.toml peers {line}");
    desk.run_ok(&dora(&format!("add {emil}")));
    // Counted, as if its head had been compared.
    let peers = desk.read("dora/peers.toml");
    let peers: String =
        peers.lines().filter(|l| !l.starts_with("joining")).map(|l| format!("{l}\n")).collect();
    desk.write("dora/peers.toml", format!("{peers}{}", third_peer_toml(&desk)));

    let said = desk.run_ok(&dora("remove emil"));
    assert!(said.contains("until then it still has to confirm"), "{said}");
    let status = desk.run_ok("--config dora/unanimity.toml status");
    assert!(status.contains("peer        emil"), "{status}");
    assert!(desk.run_ok(&dora("list")).contains("emil  leaves on"));
    desk.run_ok(&dora("keep emil"));
    assert!(desk.run_ok(&dora("list")).contains("emil  has to confirm every update\n"));
    desk.run_err(2, &dora("keep emil"));
    desk.run_err(2, &dora("remove frieda"));

    desk.run_err(2, &dora("remove emil --now yes"));
    assert!(desk.read("dora/peers.toml").contains("\"emil\""));
    let mut words = desk.command(&dora("remove emil --now"));
    let removed = words.arg("remove emil without waiting").output().unwrap();
    assert!(removed.status.success(), "{removed:?}");
    assert!(!desk.read("dora/peers.toml").contains("\"emil\""));
    assert!(desk.read("dora/peers.toml").starts_with("# my friends\n"));
    let said = desk.run_ok(&dora("list"));
    assert!(said.contains("frida  has to confirm"), "{said}");
}

/// A third node, listed by hand.
fn third_peer_toml(desk: &CliSandbox) -> String {
    fs::create_dir(desk.path().join("frida")).unwrap();
    desk.write("frida/unanimity.toml", node_toml(desk, "frida"));
    desk.write("frida/peers.toml", "");
    let ticket = create_invite(desk, "frida");
    let fields: Vec<&str> = ticket.split(',').collect();
    format!(
        "\n[[peer]]\nname = \"frida\"\noperator = \"frida\"\naddress = \"{}\"\nkey = \"{}\"\ndiscovery = \"{}\"\n",
        fields[4], fields[5], fields[6]
    )
}

#[test]
fn a_node_that_is_no_peer_has_nothing_to_give_away() {
    let desk = two_nodes();
    let client = desk.read("dora/unanimity.toml").replace("[serve]\nname = \"dora\"\n", "");
    desk.write("dora/unanimity.toml", client);
    for verb in ["peers invite", "serve"] {
        let said = desk.run_err(3, &format!("--config dora/unanimity.toml {verb}"));
        assert!(said.contains("[serve]"), "{said}");
    }
    let said = desk.run_err(3, "--config emil/unanimity.toml serve");
    assert!(said.contains("offline"), "{said}");
    // What it began with is given back.
    desk.run_ok("--config emil/unanimity.toml peers invite");
}

#[test]
fn serve_refuses_an_alarm_command_that_cannot_be_run_and_nothing_else_minds() {
    let desk = two_nodes();
    let plain = desk.read("emil/unanimity.toml");
    desk.write("alarm", "#!/bin/sh\n");
    let alarm = desk.path().join("alarm");
    let program = |path: &Path| {
        desk.write("emil/unanimity.toml", format!("{plain}[alarm]\ncommand = [{path:?}]\n"));
        desk.run_ok("--config emil/unanimity.toml peers invite");
        desk.run_err(3, "--config emil/unanimity.toml serve")
    };
    for path in [Path::new("/nowhere/alarm"), &alarm, desk.path()] {
        let said = program(path);
        assert!(said.contains("[alarm] command: ") && said.contains("cannot be run"), "{said}");
        assert!(said.contains(path.to_str().unwrap()), "{said}");
    }
    fs::set_permissions(&alarm, fs::Permissions::from_mode(0o700)).unwrap();
    let said = program(&alarm);
    assert!(said.contains("offline"), "{said}");
}

#[test]
fn a_node_keeps_the_name_that_its_key_bears() {
    let desk = two_nodes();
    create_invite(&desk, "dora");
    let renamed = desk.read("dora/unanimity.toml").replace("\"dora\"", "\"doro\"");
    desk.write("dora/unanimity.toml", renamed);
    let said = desk.run_err(7, "--config dora/unanimity.toml peers invite");
    assert!(said.contains("dora") && said.contains("doro"), "{said}");
}

#[test]
fn a_configuration_may_be_named_by_any_bytes() {
    use std::os::unix::ffi::OsStringExt as _;
    let desk = two_nodes();
    let name = std::ffi::OsString::from_vec(b"q\xff.toml".to_vec());
    fs::copy(desk.path().join("dora/unanimity.toml"), desk.path().join("dora").join(&name))
        .unwrap();
    let mut command = desk.command("peers list --config");
    let output = command.arg(desk.path().join("dora").join(&name)).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
