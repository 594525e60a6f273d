//! Values in a text form: keys, names, times, and addresses of peers and mirrors.
//!
//! A parsed value prints to a text that parses to an equal value. If the value has only one
//! spelling, it prints to the parsed text.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use unanimity_config::{ClientAuthKey, MirrorSpec, MirrorUrl, OnionAddress};
use unanimity_protocol::key::KeyName;
use unanimity_protocol::{
    CosignatureSigningKey, CosignatureVerifyingKey, Hash, Manifest, Name, NoteSigningKey,
    NoteVerifyingKey, Origin, Timestamp,
};

/// Checks one text as every kind of value.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    check_one_spelling::<Name>(text);
    check_one_spelling::<KeyName>(text);
    check_one_spelling::<Origin>(text);
    check_one_spelling::<Timestamp>(text);
    check_one_spelling::<NoteVerifyingKey>(text);
    check_one_spelling::<CosignatureVerifyingKey>(text);
    if let Ok(secret) = NoteSigningKey::from_private_key_line(text) {
        assert_eq!(secret.to_private_key_line(), text);
    }
    if let Ok(secret) = CosignatureSigningKey::from_private_key_line(text) {
        assert_eq!(secret.to_private_key_line(), text);
    }
    if let Some(hash) = Hash::from_base64(text) {
        assert_eq!(hash.base64(), text);
    }
    if let Some(hash) = Hash::from_hex(text) {
        assert_eq!(hash.hex(), text);
    }
    if Manifest::sequence_from_label(text).is_some() {
        assert!(text.len() <= 20 + 1 + 64);
    }
    check_round_trip::<OnionAddress>(text);
    check_round_trip::<ClientAuthKey>(text);
    if let Some(url) = check_round_trip::<MirrorUrl>(text) {
        assert!(url.port > 0);
        assert!(url.prefix().is_empty() || url.prefix().starts_with('/'));
        assert!(!url.prefix().ends_with('/'));
        assert!(!format!("{url}").contains(['?', '#']));
    }
    check_round_trip::<MirrorSpec>(text);
}

fn check_round_trip<T: FromStr + Display + PartialEq + Debug>(text: &str) -> Option<T> {
    let value: T = text.parse().ok()?;
    let printed = value.to_string();
    assert!(printed.parse().ok().as_ref() == Some(&value), "{printed:?} parses to another value");
    Some(value)
}

fn check_one_spelling<T: FromStr + Display>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string(), text);
    }
}
