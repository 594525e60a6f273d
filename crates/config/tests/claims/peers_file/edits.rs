//! Edits: each changes what it is about, and every other byte stays as somebody wrote it.

use std::fs;

use proptest::prelude::*;
use unanimity_config::Membership;
use unanimity_config::peers::edit::EditErrorKind;
use unanimity_config::peers::edit::{self};
use unanimity_protocol::Timestamp;
use unanimity_testkit::test_world::NOW;

use crate::cases::cases;
use crate::peers_file::{
    EDITS, Edit, LATER, disk, edit_error_kind, file, joining, joining_entry, leaves, lines, name,
    parse, peer, peers_of_every_membership,
};

/// What an edit makes of a text.
#[track_caller]
fn edited(text: &str, edit: Edit) -> String {
    let (_place, path) = file(text);
    let circle = edit(&path, &disk()).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let after = fs::read_to_string(&path).unwrap();
    assert_eq!(circle, parse(&after));
    after
}

#[test]
fn each_edit_does_what_it_says() {
    let standing = |text: &str, who| parse(text).find(&name(who)).map(|member| member.membership);
    let after = |index: usize| edited(&peers_of_every_membership(), EDITS[index].1);
    assert_eq!(parse(&after(0)).entries().last(), Some(&joining_entry(9)));
    assert_eq!(standing(&after(1), "joins"), Some(Membership::Counted));
    assert_eq!(standing(&after(2), "b"), Some(Membership::Leaving { at: LATER }));
    assert_eq!(standing(&after(3), "leaves"), Some(Membership::Leaving { at: LATER }));
    assert_eq!(standing(&after(4), "leaves"), Some(Membership::Counted));
    assert_eq!(standing(&after(5), "leaves"), None);
    // And nothing else.
    for (i, (what, _)) in EDITS.iter().enumerate() {
        let (before, after) = (parse(&peers_of_every_membership()), parse(&after(i)));
        let differ = before.entries().iter().filter(|member| !after.entries().contains(member));
        assert_eq!(differ.count(), usize::from(i > 0), "{what}");
    }
}

#[test]
fn who_never_counted_is_gone_as_soon_as_it_leaves() {
    for who in ["joins", "both"] {
        let (_place, path) = file(&peers_of_every_membership());
        let circle = edit::schedule_removal(&path, &name(who), LATER, &disk()).unwrap();
        assert_eq!(circle.find(&name(who)), None);
        assert_eq!(circle.entries().len(), 5);
    }
    // There is nothing to stay in, and nothing to wait for.
    let (_place, path) = file(&peers_of_every_membership());
    let stays = edit_error_kind(edit::cancel_removal(&path, &name("both"), &disk()));
    assert!(matches!(stays, EditErrorKind::NeverCounted(_)), "{stays}");
    edit::remove(&path, &name("both"), Timestamp(1), &disk()).unwrap();
    edit::remove(&path, &name("joins"), Timestamp(1), &disk()).unwrap();
}

/// As people write: comments everywhere, spaces, quoted keys, texts that look like something else.
const HAND_WRITTEN: &str = r#"# Our circle. [[peer]] is a person.
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
  discovery   =   "DISCOVERY-1"
# end of ana

# --- the new ones ---
# joins, met on the train
[[peer]]
name = "joins"
# asked her on the phone
joining = "JOINING" # from her ticket
# the rest
operator = "joins"
address = "ADDRESS-2"
key = "KEY-2"
discovery = "DISCOVERY-2"
# leaves, moved away
[[peer]]
leaves = "LEAVES" # said so on Monday
name = "leaves"
operator = "leaves"
address = "ADDRESS-3"
key = "KEY-3"
discovery = "DISCOVERY-3" # last

# the end"#;

/// The same people in one array.
const INLINE: &str = r#"min_peers = 1
peer = [ # all of [them]
  # ana, since 2019
  { name = "a", operator = "a", address = "ADDRESS-1", key = "KEY-1", discovery = "DISCOVERY-1" }, # her
  { joining = "JOINING", name = "joins", operator = "joins", address = "ADDRESS-2", key = "KEY-2", discovery = "DISCOVERY-2" },
  # leaves, moved, away
  { name = "leaves", operator = "leaves", address = "ADDRESS-3", key = "KEY-3", discovery = "DISCOVERY-3", leaves = "LEAVES" } # him, too
]
# the end
"#;

fn filled(template: &str) -> String {
    let mut text = template.to_owned();
    for (name, seed) in [("a", 1), ("joins", 2), ("leaves", 3)] {
        let lines = lines(name, seed, "");
        for (word, line) in [("ADDRESS", 2), ("KEY", 3), ("DISCOVERY", 4)] {
            let value = lines[line].split('"').nth(1).unwrap();
            text = text.replace(&format!("\"{word}-{seed}\""), &format!("\"{value}\""));
        }
    }
    text.replace("\"JOINING\"", joining().split_once(" = ").unwrap().1)
        .replace("\"LEAVES\"", leaves(NOW).split_once(" = ").unwrap().1)
}

/// The lines that an edit took away, and those it put in.
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
fn an_edit_changes_the_lines_it_is_about_and_no_other_byte() {
    let text = filled(HAND_WRITTEN);
    let changes = |edit: Edit| difference(&text, &edited(&text, edit));
    let joins = format!("{} # from her ticket\n", joining());
    assert_eq!(changes(EDITS[1].1), (vec![joins], vec![]));
    let [was, is] = [NOW, LATER].map(|at| format!("{} # said so on Monday\n", leaves(at)));
    assert_eq!(changes(EDITS[3].1), (vec![was.clone()], vec![is]));
    assert_eq!(changes(EDITS[4].1), (vec![was], vec![]));
    let leave: Edit = |path, disk| edit::schedule_removal(path, &name("a"), LATER, disk);
    assert_eq!(changes(leave), (vec![], vec![format!("  {}\n", leaves(LATER))]));
    let after = edited(&text, leave);
    assert!(after.contains(&format!("{}\n# end of ana\n", leaves(LATER))), "{after}");
    // A new one comes last, behind a line without an end.
    let after = edited(&text, EDITS[0].1);
    let new = peer("new-9", 9, &joining());
    assert_eq!(after, format!("{text}\n{new}"));
    // Comments that touch a table go with it, so that nobody takes them for the next one's.
    let (gone, put) = changes(EDITS[5].1);
    assert_eq!(put, Vec::<String>::new());
    assert_eq!((gone.len(), &*gone[0]), (9, "# leaves, moved away\n"), "{gone:?}");
    assert_eq!(gone[8], "\n");
    let drops: Edit = |path, disk| edit::schedule_removal(path, &name("joins"), LATER, disk);
    let (gone, _) = changes(drops);
    assert_eq!(gone[..3].concat(), "# --- the new ones ---\n# joins, met on the train\n[[peer]]\n");
    assert_eq!(gone.last().map(String::as_str), Some(&*format!("{}\n", lines("joins", 2, "")[4])));
}

#[test]
fn a_table_that_goes_takes_the_comment_below_it_and_leaves_the_file_tidy() {
    let text = filled(HAND_WRITTEN)
        .replace("  discovery   =", &format!("  {}\n  discovery   =", leaves(NOW)));
    let drops: Edit = |path, disk| edit::remove(path, &name("a"), NOW, disk);
    let after = edited(&text, drops);
    let start = "# --- the old friends ---\n\n# --- the new ones ---\n# joins, met";
    assert!(after.contains(start), "{after}");
    // Added and taken out again, a peer leaves no trace but the empty line before it.
    let (_place, path) = file(&peers_of_every_membership());
    edit::add(&path, &joining_entry(9), &disk()).unwrap();
    edit::schedule_removal(&path, &name("new-9"), NOW, &disk()).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), peers_of_every_membership() + "\n");
}

#[test]
fn tables_within_an_array_are_edited_where_they_stand() {
    let text = filled(INLINE);
    let expect = |edit: Edit, from: &str, to: &str| {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        assert_eq!(edited(&text, edit), text.replace(from, to));
    };
    let leaves_line = format!(", {} }} # him", leaves(NOW));
    expect(EDITS[1].1, &format!("{}, name", joining()), "name");
    expect(EDITS[3].1, &leaves_line, &format!(", {} }} # him", leaves(LATER)));
    expect(EDITS[4].1, &leaves_line, " } # him");
    let leave: Edit = |path, disk| edit::schedule_removal(path, &name("a"), LATER, disk);
    expect(leave, " }, # her", &format!(", {} }}, # her", leaves(LATER)));
    let new = lines("new-9", 9, &joining()).join(", ");
    expect(EDITS[0].1, " } # him, too\n", &format!(" }}, # him, too\n  {{ {new} }},\n"));
    let line_of = |word: &str| {
        let line = text.lines().find(|line| line.contains(word)).unwrap();
        format!("{line}\n")
    };
    // The comment above goes, too: it is about nobody else.
    let him = format!("  # leaves, moved, away\n{}", line_of("name = \"leaves\""));
    expect(EDITS[5].1, &him, "");
    let drops: Edit = |path, disk| edit::schedule_removal(path, &name("joins"), LATER, disk);
    expect(drops, &line_of("name = \"joins\""), "");
}

#[test]
fn odd_forms_of_toml_are_edited_or_left_alone() {
    let inline = |names: &[(&str, u8, &str)]| {
        let tables =
            names.iter().map(|(n, seed, s)| format!("{{ {} }}", lines(n, *seed, s).join(", ")));
        tables.collect::<Vec<_>>()
    };
    let (a, new) =
        (inline(&[("a", 1, "")]).remove(0), inline(&[("new-9", 9, &joining())]).remove(0));
    let gone: Edit = |path, disk| edit::schedule_removal(path, &name("j"), NOW, disk);
    let j = inline(&[("j", 2, &joining())]).remove(0);
    for (before, edit, after) in [
        ("", EDITS[0].1, peer("new-9", 9, &joining()).trim_start().to_owned()),
        ("peer = []", EDITS[0].1, format!("peer = [{new}]")),
        ("peer = [\n]\n", EDITS[0].1, format!("peer = [\n  {new},\n]\n")),
        (&format!("peer = [{a}]"), EDITS[0].1, format!("peer = [{a}, {new}]")),
        (&format!("peer = [{a},]"), EDITS[0].1, format!("peer = [{a}, {new}]")),
        (&format!("peer = [{j}]"), gone, "peer = []".to_owned()),
        (&format!("peer = [{j}, {a}]"), gone, format!("peer = [{a}]")),
        (&format!("peer = [{a}, {j}]"), gone, format!("peer = [{a}]")),
        (&format!("peer = [{a}, {j},]"), gone, format!("peer = [{a}, ]")),
        // A comma on a line of its own, and a comment in front of it.
        (&format!("peer = [\n{a} # her\n, {j}\n]"), gone, format!("peer = [\n{a} # her\n]")),
        (&format!("peer = [\n{a}, # her\n{j}\n]"), gone, format!("peer = [\n{a}, # her\n]")),
        // Comments that look like the whole of it, and no newline at the end.
        ("# [[peer]]", EDITS[0].1, format!("# [[peer]]\n{}", peer("new-9", 9, &joining()))),
        ("min_peers = 2", EDITS[0].1, format!("min_peers = 2\n{}", peer("new-9", 9, &joining()))),
    ] {
        assert_eq!(edited(before, edit), after, "{before}");
    }
    // What the file could not say afterwards is not written.
    let (_place, path) = file(&peers_of_every_membership());
    let never = edit_error_kind(edit::schedule_removal(&path, &name("a"), Timestamp::MAX, &disk()));
    assert!(matches!(never, EditErrorKind::UnsupportedLayout), "{never}");
    assert_eq!(fs::read_to_string(&path).unwrap(), peers_of_every_membership());
    // A value whose last line looks like a comment.
    let hash =
        unanimity_protocol::CosignatureSigningKey::from_seed("#a".parse().unwrap(), &[1; 32]);
    let mut hashed = lines("a", 1, "");
    hashed.truncate(3);
    hashed.push(format!("key = '''\n{}'''", hash.public()));
    let before = format!("[[peer]]\n{}\n", hashed.join("\n"));
    let text = format!("{before}[[peer]]\n{}\n", lines("j", 2, &joining()).join("\n"));
    assert_eq!(edited(&text, gone), before);
    // A mark of the byte order stays in front.
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
fn lines_that_end_as_on_windows_stay_so() {
    for text in [peers_of_every_membership(), filled(HAND_WRITTEN), filled(INLINE)] {
        for (what, edit) in EDITS {
            if what == "leave" && !text.contains("\"b\"") {
                continue;
            }
            let after = edited(&text.replace('\n', "\r\n"), edit);
            assert_eq!(after, edited(&text, edit).replace('\n', "\r\n"), "{what}");
        }
    }
}

proptest! {
    // Each case is some edits of a file.
    #![proptest_config(cases(60))]

    #[test]
    fn every_comment_of_those_who_stay_is_kept_byte_for_byte(
        comments in proptest::collection::vec("[ -~é]{0,20}", 60),
        blank in proptest::collection::vec(0usize..3, 60),
        windows in proptest::collection::vec(any::<bool>(), 60),
        order in proptest::collection::vec(0usize..6, 1..5),
    ) {
        // A comment after every line, above every line, and empty lines in between.
        let mut text = String::new();
        for (i, line) in peers_of_every_membership().lines().filter(|line| !line.is_empty()).enumerate() {
            let i = i % 60;
            let newline = if windows[i] { "\r\n" } else { "\n" };
            let above = format!("# {i} above {}{newline}", comments[i]);
            let blank = newline.repeat(blank[i]);
            text += &format!("{blank}{above}{blank}{line} # {i} behind {}{newline}", comments[i]);
        }
        let (_place, path) = file(&text);
        for edit in order {
            let before = fs::read_to_string(&path).unwrap();
            let members = parse(&before).entries().to_vec();
            // Some cannot be done twice.
            let Ok(circle) = EDITS[edit].1(&path, &disk()) else {
                prop_assert_eq!(fs::read_to_string(&path).unwrap(), before);
                continue;
            };
            let after = fs::read_to_string(&path).unwrap();
            prop_assert_eq!(&circle, &parse(&after));
            let (gone, put) = difference(&before, &after);
            match EDITS[edit].0 {
                "add" => prop_assert!(gone.is_empty() && put.len() == 8, "{gone:?} {put:?}"),
                "leave" | "leave later" => {
                    // Nothing differs if it was to leave then already.
                    let lines = (gone.len(), put.len());
                    prop_assert!([(0, 0), (0, 1), (1, 1)].contains(&lines), "{gone:?} {put:?}");
                    let behind = |lines: &[String]| lines.first()?.split_once(" #").map(|x| x.1.to_owned());
                    prop_assert!(gone.is_empty() || behind(&gone) == behind(&put));
                }
                "count" | "stay" => prop_assert!(gone.len() == 1 && put.is_empty()),
                _ => {
                    prop_assert!(put.is_empty());
                    prop_assert_eq!(circle.entries().len(), members.len() - 1);
                    // Whole lines, and values of nobody else's.
                    prop_assert!(gone.iter().filter(|line| line.contains(" = ")).count() == 6);
                }
            }
        }
    }
}

#[test]
fn a_name_of_a_key_with_quotes_in_it_is_written_as_toml_reads_it() {
    let mut odd = joining_entry(9);
    let name = "\"\'#]é".parse().unwrap();
    odd.peer.key = unanimity_protocol::CosignatureSigningKey::from_seed(name, &[9; 32]).public();
    for text in
        [peers_of_every_membership(), format!("peer = [{{ {} }}]", lines("a", 1, "").join(", "))]
    {
        let (_place, path) = file(&text);
        let circle = edit::add(&path, &odd, &disk()).unwrap();
        assert_eq!(circle.entries().last(), Some(&odd));
    }
}
