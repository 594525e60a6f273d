//! What must not stand in a log or in a mail: where peers are reached, and secret keys.

use std::fmt::Display;

/// What stands in its place.
const HIDDEN: &str = "[hidden]";
/// An onion service's name has 56 characters and a discovery key 52: with some of them missing, or
/// one too many, they are still nobody's business.
const MIN_REDACTED_LEN: usize = 40;
/// A digest in hexadecimal, which people compare. No onion service's name is as long.
const DIGEST_HEX_LEN: usize = 64;
/// How secret keys begin, in lower case: ours, and those of age.
const PRIVATE_KEY_PREFIXES: [&str; 2] = ["private+key", "age-secret"];

/// What an error says, for the log and for the alarm. Hidden are all words of 40 or more ASCII
/// letters and digits (not only those of base32: the wrong one may be what the error is about), but
/// for digests; whatever stands before ".onion"; and secret keys from their first word on.
///
/// Who is at a terminal reads the error itself.
pub fn redact(text: impl Display) -> String {
    let text = text.to_string();
    let mut clean = String::with_capacity(text.len());
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`');
    for part in text.split_inclusive(ends) {
        let lower = part.to_ascii_lowercase();
        match PRIVATE_KEY_PREFIXES.iter().filter_map(|secret| lower.find(secret)).min() {
            Some(at) => {
                redact_onion_names(&part[..at], &mut clean);
                clean += HIDDEN;
                clean.extend(part.chars().next_back().filter(|&c| ends(c)));
            }
            None => redact_onion_names(part, &mut clean),
        }
    }
    clean
}

fn redact_onion_names(text: &str, clean: &mut String) {
    let mut rest = text;
    for label in text.split_inclusive(['.', ':', '/', '@', ',', '=', '(', ')']) {
        rest = &rest[label.len()..];
        let onion = rest.get(..5).is_some_and(|next| next.eq_ignore_ascii_case("onion"));
        match label.strip_suffix('.') {
            Some(name) if onion && !name.is_empty() => {
                clean.push_str(HIDDEN);
                clean.push('.');
            }
            _ => redact_long_words(label, clean),
        }
    }
}

fn redact_long_words(label: &str, clean: &mut String) {
    for part in label.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let word = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let hex = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
        let is_digest = word.len() == DIGEST_HEX_LEN && word.bytes().all(hex);
        clean.push_str(if word.len() >= MIN_REDACTED_LEN && !is_digest { HIDDEN } else { word });
        clean.push_str(&part[word.len()..]);
    }
}
