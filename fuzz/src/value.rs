//! Values with a spelling of their own: keys, names, times, addresses of peers and mirrors.
//!
//! What parses prints to a text that parses to an equal value; where a value has one spelling, that is
//! the text itself.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use unanimity_config::{DiscoveryKey, MirrorSpec, OnionAddress, Site};
use unanimity_protocol::key::KeyName;
use unanimity_protocol::{
    CosignatureSigningKey, CosignatureVerifyingKey, Hash, Manifest, Name, NoteSigningKey,
    NoteVerifyingKey, Origin, Timestamp,
};

/// Checks one text as every kind of value.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    exact::<Name>(text);
    exact::<KeyName>(text);
    exact::<Origin>(text);
    exact::<Timestamp>(text);
    exact::<NoteVerifyingKey>(text);
    exact::<CosignatureVerifyingKey>(text);
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
    if Manifest::sequence_of(text).is_some() {
        assert!(text.len() <= 20 + 1 + 64);
    }
    same::<OnionAddress>(text);
    same::<DiscoveryKey>(text);
    if let Some(site) = same::<Site>(text) {
        assert!(site.port > 0);
        assert!(site.prefix().is_empty() || site.prefix().starts_with('/'));
        assert!(!site.prefix().ends_with('/'));
        assert!(!format!("{site}").contains(['?', '#']));
    }
    same::<MirrorSpec>(text);
}

fn same<T: FromStr + Display + PartialEq + Debug>(text: &str) -> Option<T> {
    let value: T = text.parse().ok()?;
    let printed = value.to_string();
    assert!(printed.parse().ok().as_ref() == Some(&value), "{printed:?} is another value");
    Some(value)
}

fn exact<T: FromStr + Display>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string(), text);
    }
}
