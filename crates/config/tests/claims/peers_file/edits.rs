//! Edits of the peers file: each changes the peer in question, and every other byte stays.

use std::fs;

use proptest::prelude::*;
use unanimity_config::Membership;
use unanimity_config::peers::edit::{self, EditErrorKind};
use unanimity_protocol::Timestamp;
use unanimity_testkit::test_world::NOW;

use crate::cases::cases;
use crate::peers_file::{
    EDITS, Edit, LATER, disk, edit_error_kind, file, joining, joining_entry, leaves, lines, name,
    parse, peer, peers_of_every_membership,
};

/// The text after an edit.
#[track_caller]
fn edited(text: &str, edit: Edit) -> String {
    let (_scratch, path) = file(text);
    let list = edit(&path, &disk()).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let after = fs::read_to_string(&path).unwrap();
    assert_eq!(list, parse(&after));
    after
}

#[test]
fn each_edit_changes_only_its_own_peer() {
    let membership = |text: &str, peer| parse(text).find(&name(peer)).map(|entry| entry.membership);
    let after = |index: usize| edited(&peers_of_every_membership(), EDITS[index].1);
    assert_eq!(parse(&after(0)).entries().last(), Some(&joining_entry(9)));
    assert_eq!(membership(&after(1), "joins"), Some(Membership::Counted));
    assert_eq!(membership(&after(2), "b"), Some(Membership::Leaving { at: LATER }));
    assert_eq!(membership(&after(3), "leaves"), Some(Membership::Leaving { at: LATER }));
    assert_eq!(membership(&after(4), "leaves"), Some(Membership::Counted));
    assert_eq!(membership(&after(5), "leaves"), None);
    // Every other peer stays.
    for (i, (what, _)) in EDITS.iter().enumerate() {
        let (before, after) = (parse(&peers_of_every_membership()), parse(&after(i)));
        let differ = before.entries().iter().filter(|entry| !after.entries().contains(entry));
        assert_eq!(differ.count(), usize::from(i > 0), "{what}");
    }
}

#[test]
fn peer_that_never_counted_is_removed_at_once() {
    for peer in ["joins", "both"] {
        let (_scratch, path) = file(&peers_of_every_membership());
        let list = edit::schedule_removal(&path, &name(peer), LATER, &disk()).unwrap();
        assert_eq!(list.find(&name(peer)), None);
        assert_eq!(list.entries().len(), 5);
    }
    // Its removal cannot be canceled, and needs no delay.
    let (_scratch, path) = file(&peers_of_every_membership());
    let why = edit_error_kind(edit::cancel_removal(&path, &name("both"), &disk()));
    assert!(matches!(why, EditErrorKind::NeverCounted(_)), "{why}");
    edit::remove(&path, &name("both"), Timestamp(1), &disk()).unwrap();
    edit::remove(&path, &name("joins"), Timestamp(1), &disk()).unwrap();
}

/// A file as operators write it: comments everywhere, spaces, quoted keys, comments like TOML.
const HAND_WRITTEN: &str = r#"# Our peers. [[peer]] is a person.
min_peers = 1 # for now

# --- the old friends ---

# ana, since 2019
[[ "peer" ]]   # header
	"name"="a" # name
  # her company
  operator = '''
a'''
  address = "ADDRESS-1"
  key = "KEY-1"
  # found by
  client_auth   =   "CLIENT-AUTH-1"
# end of ana

# --- the new ones ---
# joins, met on the train
[[peer]]
name = "joins"
# asked her on the phone
joining = "JOINING" # from her invite
# the rest
operator = "joins"
address = "ADDRESS-2"
key = "KEY-2"
client_auth = "CLIENT-AUTH-2"
# leaves, moved away
[[peer]]
leaves_at = "LEAVES" # said so on Monday
name = "leaves"
operator = "leaves"
address = "ADDRESS-3"
key = "KEY-3"
client_auth = "CLIENT-AUTH-3" # last

# the end"#;

/// The peers of [`HAND_WRITTEN`] in one array.
const INLINE: &str = r#"min_peers = 1
peer = [ # all of [them]
  # ana, since 2019
  { name = "a", operator = "a", address = "ADDRESS-1", key = "KEY-1", client_auth = "CLIENT-AUTH-1" }, # her
  { joining = "JOINING", name = "joins", operator = "joins", address = "ADDRESS-2", key = "KEY-2", client_auth = "CLIENT-AUTH-2" },
  # leaves, moved, away
  { name = "leaves", operator = "leaves", address = "ADDRESS-3", key = "KEY-3", client_auth = "CLIENT-AUTH-3", leaves_at = "LEAVES" } # him, too
]
# the end
"#;

fn filled(template: &str) -> String {
    let mut text = template.to_owned();
    for (name, seed) in [("a", 1), ("joins", 2), ("leaves", 3)] {
        let lines = lines(name, seed, "");
        for (word, line) in [("ADDRESS", 2), ("KEY", 3), ("CLIENT-AUTH", 4)] {
            let value = lines[line].split('"').nth(1).unwrap();
            text = text.replace(&format!("\"{word}-{seed}\""), &format!("\"{value}\""));
        }
    }
    text.replace("\"JOINING\"", joining().split_once(" = ").unwrap().1)
        .replace("\"LEAVES\"", leaves(NOW).split_once(" = ").unwrap().1)
}

/// The lines that an edit removed, and the lines that it added.
fn difference(before: &str, after: &str) -> (Vec<String>, Vec<String>) {
    let (before, after): (Vec<_>, Vec<_>) =
        (before.split_inclusive('\n').collect(), after.split_inclusive('\n').collect());
    let head = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
    let rest = before.len().min(after.len()) - head;
    let tail = before.iter().rev().zip(after.iter().rev()).take(rest);
    let tail = tail.take_while(|(a, b)| a == b).count();
    let middle =
        |lines: &[&str]| lines[head..lines.len() - tail].iter().map(ToString::to_string).collect();
    (middle(&before), middle(&after))
}

#[test]
fn edit_changes_the_lines_of_its_peer_and_no_other_byte() {
    let text = filled(HAND_WRITTEN);
    let changes = |edit: Edit| difference(&text, &edited(&text, edit));
    let joins = format!("{} # from her invite\n", joining());
    assert_eq!(changes(EDITS[1].1), (vec![joins], vec![]));
    let [was, is] = [NOW, LATER].map(|at| format!("{} # said so on Monday\n", leaves(at)));
    assert_eq!(changes(EDITS[3].1), (vec![was.clone()], vec![is]));
    assert_eq!(changes(EDITS[4].1), (vec![was], vec![]));
    let schedule: Edit = |path, disk| edit::schedule_removal(path, &name("a"), LATER, disk);
    assert_eq!(changes(schedule), (vec![], vec![format!("  {}\n", leaves(LATER))]));
    let after = edited(&text, schedule);
    assert!(after.contains(&format!("{}\n# end of ana\n", leaves(LATER))), "{after}");
    // A new peer comes last, after a last line without a newline.
    let after = edited(&text, EDITS[0].1);
    let new = peer("new-9", 9, &joining());
    assert_eq!(after, format!("{text}\n{new}"));
    // Comments that touch a table go with it. They would seem to describe the next peer.
    let (removed, added) = changes(EDITS[5].1);
    assert_eq!(added, Vec::<String>::new());
    assert_eq!((removed.len(), &*removed[0]), (9, "# leaves, moved away\n"), "{removed:?}");
    assert_eq!(removed[8], "\n");
    let remove: Edit = |path, disk| edit::schedule_removal(path, &name("joins"), LATER, disk);
    let (removed, _) = changes(remove);
    assert_eq!(
        removed[..3].concat(),
        "# --- the new ones ---\n# joins, met on the train\n[[peer]]\n"
    );
    assert_eq!(
        removed.last().map(String::as_str),
        Some(&*format!("{}\n", lines("joins", 2, "")[4]))
    );
}

#[test]
fn removed_table_takes_the_comment_below_it() {
    let text = filled(HAND_WRITTEN)
        .replace("  client_auth   =", &format!("  {}\n  client_auth   =", leaves(NOW)));
    let remove: Edit = |path, disk| edit::remove(path, &name("a"), NOW, disk);
    let after = edited(&text, remove);
    let start = "# --- the old friends ---\n\n# --- the new ones ---\n# joins, met";
    assert!(after.contains(start), "{after}");
    // A peer that is added and removed leaves only the empty line before it.
    let (_scratch, path) = file(&peers_of_every_membership());
    edit::add(&path, &joining_entry(9), &disk()).unwrap();
    edit::schedule_removal(&path, &name("new-9"), NOW, &disk()).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), peers_of_every_membership() + "\n");
}

#[test]
fn tables_in_an_array_are_edited_in_place() {
    let text = filled(INLINE);
    let expect = |edit: Edit, from: &str, to: &str| {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        assert_eq!(edited(&text, edit), text.replace(from, to));
    };
    let leaves_line = format!(", {} }} # him", leaves(NOW));
    expect(EDITS[1].1, &format!("{}, name", joining()), "name");
    expect(EDITS[3].1, &leaves_line, &format!(", {} }} # him", leaves(LATER)));
    expect(EDITS[4].1, &leaves_line, " } # him");
    let schedule: Edit = |path, disk| edit::schedule_removal(path, &name("a"), LATER, disk);
    expect(schedule, " }, # her", &format!(", {} }}, # her", leaves(LATER)));
    let new = lines("new-9", 9, &joining()).join(", ");
    expect(EDITS[0].1, " } # him, too\n", &format!(" }}, # him, too\n  {{ {new} }},\n"));
    let line_of = |word: &str| {
        let line = text.lines().find(|line| line.contains(word)).unwrap();
        format!("{line}\n")
    };
    // The comment above the removed peer goes, too.
    let him = format!("  # leaves, moved, away\n{}", line_of("name = \"leaves\""));
    expect(EDITS[5].1, &him, "");
    let remove: Edit = |path, disk| edit::schedule_removal(path, &name("joins"), LATER, disk);
    expect(remove, &line_of("name = \"joins\""), "");
}

#[test]
fn unusual_toml_is_edited_or_left_unchanged() {
    let inline = |names: &[(&str, u8, &str)]| {
        let tables =
            names.iter().map(|(n, seed, s)| format!("{{ {} }}", lines(n, *seed, s).join(", ")));
        tables.collect::<Vec<_>>()
    };
    let (a, new) =
        (inline(&[("a", 1, "")]).remove(0), inline(&[("new-9", 9, &joining())]).remove(0));
    let remove: Edit = |path, disk| edit::schedule_removal(path, &name("j"), NOW, disk);
    let j = inline(&[("j", 2, &joining())]).remove(0);
    for (before, edit, after) in [
        ("", EDITS[0].1, peer("new-9", 9, &joining()).trim_start().to_owned()),
        ("peer = []", EDITS[0].1, format!("peer = [{new}]")),
        ("peer = [\n]\n", EDITS[0].1, format!("peer = [\n  {new},\n]\n")),
        (&format!("peer = [{a}]"), EDITS[0].1, format!("peer = [{a}, {new}]")),
        (&format!("peer = [{a},]"), EDITS[0].1, format!("peer = [{a}, {new}]")),
        (&format!("peer = [{j}]"), remove, "peer = []".to_owned()),
        (&format!("peer = [{j}, {a}]"), remove, format!("peer = [{a}]")),
        (&format!("peer = [{a}, {j}]"), remove, format!("peer = [{a}]")),
        (&format!("peer = [{a}, {j},]"), remove, format!("peer = [{a}, ]")),
        // A comma on its own line, after a comment.
        (&format!("peer = [\n{a} # her\n, {j}\n]"), remove, format!("peer = [\n{a} # her\n]")),
        (&format!("peer = [\n{a}, # her\n{j}\n]"), remove, format!("peer = [\n{a}, # her\n]")),
        // A comment that looks like a table, and no newline at the end.
        ("# [[peer]]", EDITS[0].1, format!("# [[peer]]\n{}", peer("new-9", 9, &joining()))),
        ("min_peers = 2", EDITS[0].1, format!("min_peers = 2\n{}", peer("new-9", 9, &joining()))),
    ] {
        assert_eq!(edited(before, edit), after, "{before}");
    }
    // A time that has no form in the file is not written.
    let (_scratch, path) = file(&peers_of_every_membership());
    let why = edit_error_kind(edit::schedule_removal(&path, &name("a"), Timestamp::MAX, &disk()));
    assert!(matches!(why, EditErrorKind::UnsupportedLayout), "{why}");
    assert_eq!(fs::read_to_string(&path).unwrap(), peers_of_every_membership());
    // The last line of a value looks like a comment.
    let hash_key =
        unanimity_protocol::CosignatureSigningKey::from_seed("#a".parse().unwrap(), &[1; 32]);
    let mut hashed = lines("a", 1, "");
    hashed.truncate(3);
    hashed.push(format!("key = '''\n{}'''", hash_key.public()));
    let before = format!("[[peer]]\n{}\n", hashed.join("\n"));
    let text = format!("{before}[[peer]]\n{}\n", lines("j", 2, &joining()).join("\n"));
    assert_eq!(edited(&text, remove), before);
    // A byte order mark stays at the beginning.
    let marked = format!("\u{feff}{}", peers_of_every_membership());
    for (what, edit) in EDITS {
        let after = edited(&marked, edit);
        assert_eq!(
            after,
            format!("\u{feff}{}", edited(&peers_of_every_membership(), edit)),
            "{what}"
        );
    }
}

#[test]
fn edit_keeps_crlf_line_endings() {
    for text in [peers_of_every_membership(), filled(HAND_WRITTEN), filled(INLINE)] {
        for (what, edit) in EDITS {
            if what == "schedule removal" && !text.contains("\"b\"") {
                continue;
            }
            let after = edited(&text.replace('\n', "\r\n"), edit);
            assert_eq!(after, edited(&text, edit).replace('\n', "\r\n"), "{what}");
        }
    }
}

proptest! {
    // Each case makes some edits of one file.
    #![proptest_config(cases(60))]

    #[test]
    fn comments_of_remaining_peers_are_kept_byte_for_byte(
        comments in proptest::collection::vec("[ -~é]{0,20}", 60),
        blank in proptest::collection::vec(0usize..3, 60),
        windows in proptest::collection::vec(any::<bool>(), 60),
        order in proptest::collection::vec(0usize..6, 1..5),
    ) {
        // A comment after every line, above every line, and empty lines in between.
        let mut text = String::new();
        let all = peers_of_every_membership();
        for (i, line) in all.lines().filter(|line| !line.is_empty()).enumerate() {
            let i = i % 60;
            let newline = if windows[i] { "\r\n" } else { "\n" };
            let above = format!("# {i} above {}{newline}", comments[i]);
            let blank = newline.repeat(blank[i]);
            text += &format!("{blank}{above}{blank}{line} # {i} behind {}{newline}", comments[i]);
        }
        let (_scratch, path) = file(&text);
        for edit in order {
            let before = fs::read_to_string(&path).unwrap();
            let count = parse(&before).entries().len();
            // Some edits cannot be made twice.
            let Ok(list) = EDITS[edit].1(&path, &disk()) else {
                prop_assert_eq!(fs::read_to_string(&path).unwrap(), before);
                continue;
            };
            let after = fs::read_to_string(&path).unwrap();
            prop_assert_eq!(&list, &parse(&after));
            let (removed, added) = difference(&before, &after);
            match EDITS[edit].0 {
                "add" => prop_assert!(removed.is_empty() && added.len() == 8, "{removed:?} {added:?}"),
                "schedule removal" | "postpone removal" => {
                    // Nothing differs if the peer already leaves at that time.
                    let lines = (removed.len(), added.len());
                    prop_assert!([(0, 0), (0, 1), (1, 1)].contains(&lines), "{removed:?} {added:?}");
                    let behind = |lines: &[String]| lines.first()?.split_once(" #").map(|x| x.1.to_owned());
                    prop_assert!(removed.is_empty() || behind(&removed) == behind(&added));
                }
                "activate" | "cancel removal" => prop_assert!(removed.len() == 1 && added.is_empty()),
                _ => {
                    prop_assert!(added.is_empty());
                    prop_assert_eq!(list.entries().len(), count - 1);
                    // Whole lines go, with the values of one peer.
                    prop_assert!(removed.iter().filter(|line| line.contains(" = ")).count() == 6);
                }
            }
        }
    }
}

#[test]
fn key_name_with_quotes_survives_writing_and_parsing() {
    let mut entry = joining_entry(9);
    let name = "\"\'#]é".parse().unwrap();
    entry.peer.key = unanimity_protocol::CosignatureSigningKey::from_seed(name, &[9; 32]).public();
    for text in
        [peers_of_every_membership(), format!("peer = [{{ {} }}]", lines("a", 1, "").join(", "))]
    {
        let (_scratch, path) = file(&text);
        let list = edit::add(&path, &entry, &disk()).unwrap();
        assert_eq!(list.entries().last(), Some(&entry));
    }
}
