//! Redaction of onion addresses and private keys, for the daemon's log and for alerts.

use std::fmt::Display;

/// The replacement for redacted text.
const HIDDEN: &str = "[hidden]";
/// The shortest word that is redacted. The name of an onion service has 56 characters, and a client
/// authorization key has 52. The limit is lower, so that an incomplete name or key is redacted,
/// too.
const MIN_REDACTED_LEN: usize = 40;
/// The length of a SHA-256 digest in hexadecimal. Digests are not redacted, because people compare
/// them, and no name of an onion service is that long.
const DIGEST_HEX_LEN: usize = 64;
/// The beginnings of private keys, in lower case: one for keys of this project, one for age keys.
const PRIVATE_KEY_PREFIXES: [&str; 2] = ["private+key", "age-secret"];

/// Redacts an error message for the daemon's log and for alerts.
///
/// Three kinds of text are replaced by `[hidden]`:
///
/// - words of 40 or more ASCII letters and digits, except SHA-256 digests in lower case. Characters
///   outside base32 count, too, because a wrong character may be the subject of the error.
/// - the name before `.onion`.
/// - a private key, from its beginning to the next white space or quote.
///
/// Messages for a terminal are not redacted.
pub fn redact(text: impl Display) -> String {
    let text = text.to_string();
    let mut redacted = String::with_capacity(text.len());
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`');
    for part in text.split_inclusive(ends) {
        let lower = part.to_ascii_lowercase();
        match PRIVATE_KEY_PREFIXES.iter().filter_map(|prefix| lower.find(prefix)).min() {
            Some(at) => {
                redact_onion_names(&part[..at], &mut redacted);
                redacted += HIDDEN;
                redacted.extend(part.chars().next_back().filter(|&c| ends(c)));
            }
            None => redact_onion_names(part, &mut redacted),
        }
    }
    redacted
}

fn redact_onion_names(text: &str, redacted: &mut String) {
    let mut rest = text;
    for label in text.split_inclusive(['.', ':', '/', '@', ',', '=', '(', ')']) {
        rest = &rest[label.len()..];
        let onion = rest.get(..5).is_some_and(|next| next.eq_ignore_ascii_case("onion"));
        match label.strip_suffix('.') {
            Some(name) if onion && !name.is_empty() => {
                redacted.push_str(HIDDEN);
                redacted.push('.');
            }
            _ => redact_long_words(label, redacted),
        }
    }
}

fn redact_long_words(label: &str, redacted: &mut String) {
    for part in label.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let word = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let hex = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
        let is_digest = word.len() == DIGEST_HEX_LEN && word.bytes().all(hex);
        redacted.push_str(if word.len() >= MIN_REDACTED_LEN && !is_digest { HIDDEN } else { word });
        redacted.push_str(&part[word.len()..]);
    }
}
