//! Onion addresses: an address has one spelling, and a wrong character is an error.

use proptest::prelude::*;
use unanimity_config::OnionAddress;
use unanimity_config::address::onion::{DEFAULT_PORT, OnionAddressError};

/// The address of a well-known service.
const KNOWN: &str = "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad";

fn parse(text: &str) -> Result<OnionAddress, OnionAddressError> {
    text.parse()
}

#[test]
fn parser_reads_address_of_a_public_service() {
    let address = parse(&format!("{KNOWN}.onion")).unwrap();
    assert_eq!(address.port, DEFAULT_PORT);
    assert_eq!(address.to_string(), format!("{KNOWN}.onion:4242"));
    assert_eq!(parse(&format!("{KNOWN}.onion:80")).unwrap().port, 80);
    assert_eq!(parse(&format!("{KNOWN}.onion:65535")).unwrap().port, 65_535);
}

#[test]
fn all_spellings_of_an_address_are_equal() {
    let upper = KNOWN.to_uppercase();
    let one = parse(&format!("{KNOWN}.onion")).unwrap();
    for text in [
        format!("{KNOWN}.onion:4242"),
        format!("{KNOWN}.onion."),
        format!("{KNOWN}.onion.:4242"),
        format!("{KNOWN}.ONION"),
        format!("{upper}.onion"),
        format!("{upper}.OnIoN.:04242"),
    ] {
        assert_eq!(parse(&text).as_ref(), Ok(&one), "{text}");
    }
    assert_ne!(parse(&format!("{KNOWN}.onion:4243")).unwrap(), one);
}

#[test]
fn parser_refuses_any_one_wrong_character() {
    for at in 0..KNOWN.len() {
        for other in "abcdefghijklmnopqrstuvwxyz234567".chars() {
            let mut text = KNOWN.to_owned();
            text.replace_range(at..=at, &other.to_string());
            let read = parse(&format!("{text}.onion"));
            if text == KNOWN {
                read.unwrap();
            } else {
                assert!(matches!(read, Err(OnionAddressError::Checksum(_))), "{text}");
            }
        }
        let mut swapped = KNOWN.as_bytes().to_vec();
        swapped.swap(at, (at + 1) % KNOWN.len());
        let swapped = String::from_utf8(swapped).unwrap();
        assert!(swapped == KNOWN || parse(&format!("{swapped}.onion")).is_err());
    }
    let error = parse(&format!("e{}.onion", &KNOWN[1..])).unwrap_err();
    assert!(error.to_string().contains("mistyped"), "{error}");
}

#[test]
fn parser_refuses_another_version_of_onion_address() {
    // The last byte is the version, 3. Each of these addresses has a checksum for its own version.
    use sha3::Digest as _;
    let key = parse(&format!("{KNOWN}.onion")).unwrap().key;
    for version in [0, 2, 4, 255] {
        let checksum = sha3::Sha3_256::digest([b".onion checksum", &key[..], &[version]].concat());
        let bytes = [&key[..], &checksum[..2], &[version]].concat();
        let text = data_encoding::BASE32_NOPAD.encode(&bytes).to_lowercase();
        assert!(parse(&format!("{text}.onion")).is_err(), "version {version}");
    }
    assert!(parse("expyuzz4wqqyqhjn.onion").is_err(), "version 2 had 16 characters");
}

#[test]
fn parser_refuses_text_of_another_form() {
    let bad_ports = ["0", "70000", "65536", "+80", "-1", "", " 80", "80 ", "8o", "80:80", "0x50"];
    for port in bad_ports {
        let read = parse(&format!("{KNOWN}.onion:{port}"));
        assert!(matches!(read, Err(OnionAddressError::Shape(_))), "port {port:?}");
    }
    for text in [
        "",
        ".onion",
        "onion",
        KNOWN,
        &format!("{KNOWN}.onion.."),
        &format!("{KNOWN}.onion.com"),
        &format!("{KNOWN}..onion"),
        &format!("www.{KNOWN}.onion"),
        &format!(" {KNOWN}.onion"),
        &format!("{KNOWN}.onion\n"),
        &format!("{KNOWN}a.onion"),
        &format!("{}.onion", &KNOWN[1..]),
        &format!("1{}.onion", &KNOWN[1..]),
        &format!("{KNOWN}=.onion"),
        &format!("ｄ{}.onion", &KNOWN[1..]),
        &format!("http://{KNOWN}.onion"),
    ] {
        assert!(matches!(parse(text), Err(OnionAddressError::Shape(_))), "{text:?}");
    }
    let long = "x".repeat(1 << 20);
    assert!(parse(&long).unwrap_err().to_string().len() < 300, "an error has a bound");
}

#[test]
fn debug_output_hides_the_address() {
    let address = parse(&format!("{KNOWN}.onion:80")).unwrap();
    assert_eq!(format!("{address:?}"), "OnionAddress(..)");
    assert!(!format!("{:?}", Some(&address)).contains("duck"));
}

proptest! {
    #[test]
    fn address_survives_formatting_and_parsing(key: [u8; 32], port in 1u16..) {
        let address = OnionAddress { key, port };
        let text = address.to_string();
        prop_assert_eq!(parse(&text), Ok(address.clone()));
        prop_assert_eq!(text.to_uppercase().parse::<OnionAddress>(), Ok(address));
    }

    #[test]
    fn parser_never_panics(text in "\\PC{0,80}") {
        let _ = parse(&text);
        let _ = parse(&format!("{text}.onion:{text}"));
    }
}
