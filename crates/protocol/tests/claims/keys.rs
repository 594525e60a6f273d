//! Claims about keys: their one-line form, and the Ed25519 signatures that they accept.

use std::ops::{Add, Mul};

use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};
use sha2::{Digest as _, Sha512};
use unanimity_protocol::key::KeyError;
use unanimity_protocol::note::NoteError;
use unanimity_protocol::{
    CosignatureSigningKey, CosignatureVerifyingKey, Note, NoteSigningKey, NoteVerifyingKey,
    PublicKeyBytes,
};

use crate::fixtures::{base64, flips, line, note, secret};

/// The key of the Go checksum database, in use since 2019. Its name is not the origin of its log.
const GO: &str = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
const TEXT: &str = "some text\n";

/// The order of the base point of Ed25519, little-endian.
const L: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// Opens a note of [`TEXT`] with this signature, in a line of the key of `secret`.
fn open(secret: &NoteSigningKey, signature: &[u8]) -> Result<Vec<PublicKeyBytes>, NoteError> {
    let key = secret.public();
    let bytes = format!("{TEXT}\n{}", line(key.name().as_str(), key.id(), signature));
    Note::parse(bytes.as_bytes())?.open(&[key])
}

fn signature(secret: &NoteSigningKey) -> [u8; 64] {
    note(TEXT, &[secret]).signatures()[0].signature[..].try_into().unwrap()
}

#[test]
fn key_line_of_the_go_checksum_database_reads_and_prints_back() {
    let key: NoteVerifyingKey = GO.parse().unwrap();
    assert_eq!(key.to_string(), GO);
    assert_eq!(key.name().as_str(), "sum.golang.org");
    assert_eq!(key.id(), [0x03, 0x3d, 0xe0, 0xae]);
}

#[test]
fn a_key_line_with_any_byte_changed_is_refused() {
    for (at, flipped) in flips(GO.as_bytes()) {
        let Ok(text) = String::from_utf8(flipped) else { continue };
        assert!(text.parse::<NoteVerifyingKey>().is_err(), "byte {at}: {text}");
    }
    for length in 0..GO.len() {
        assert!(GO[..length].parse::<NoteVerifyingKey>().is_err());
    }
    for (before, after) in [(" ", ""), ("", " "), ("", "\n"), ("", "="), ("", "A")] {
        assert!(format!("{before}{GO}{after}").parse::<NoteVerifyingKey>().is_err());
    }
}

#[test]
fn key_line_with_a_plus_in_its_base64_is_read_whole() {
    let (with, without): (Vec<u8>, Vec<u8>) = (0..40)
        .partition(|&seed| secret("key", seed).public().to_string().matches('+').count() > 2);
    assert!(!with.is_empty() && !without.is_empty());
    for seed in 0..40 {
        let key = secret("key", seed).public();
        assert_eq!(key.to_string().parse::<NoteVerifyingKey>(), Ok(key));
    }
}

#[test]
fn key_line_with_another_id_is_refused() {
    let wrong = GO.replacen("033de0ae", "033de0af", 1);
    assert!(matches!(wrong.parse::<NoteVerifyingKey>(), Err(KeyError::Id(_))));
    let renamed = GO.replacen("golang", "gopher", 1);
    assert!(matches!(renamed.parse::<NoteVerifyingKey>(), Err(KeyError::Id(_))));
    let upper = GO.replacen("033de0ae", "033DE0AE", 1);
    assert_eq!(upper.parse::<NoteVerifyingKey>(), Err(KeyError::Shape));
}

#[test]
fn note_key_is_no_cosignature_key_nor_the_reverse() {
    let wanted = |found, wanted| KeyError::Type { name: "key".parse().unwrap(), found, wanted };
    let note = secret("key", 1);
    let cosigner = CosignatureSigningKey::from_seed("key".parse().unwrap(), &[1; 32]);
    assert_eq!(note.public().raw(), cosigner.public().raw());
    assert_ne!(note.public().id(), cosigner.public().id());
    assert_eq!(note.public().to_string().parse::<CosignatureVerifyingKey>(), Err(wanted(1, 4)));
    assert_eq!(cosigner.public().to_string().parse::<NoteVerifyingKey>(), Err(wanted(4, 1)));
    assert_eq!(
        CosignatureSigningKey::from_private_key_line(&note.to_private_key_line()).err(),
        Some(wanted(1, 4))
    );
    assert_eq!(
        NoteSigningKey::from_private_key_line(&cosigner.to_private_key_line()).err(),
        Some(wanted(4, 1))
    );
}

#[test]
fn key_name_has_no_space_plus_or_control_character_and_255_bytes() {
    let long = "n".repeat(256);
    for name in ["", " ", "a b", "a\u{a0}b", "a\u{2003}", "a+b", "+", "a\nb", "a\u{7f}", &long] {
        assert_eq!(
            name.parse::<unanimity_protocol::key::KeyName>(),
            Err(KeyError::Name),
            "{name:?}"
        );
        assert!(GO.replacen("sum.golang.org", name, 1).parse::<NoteVerifyingKey>().is_err());
    }
    for name in ["a", "peer.example/with-path", "Zoë", "—", &long[1..]] {
        assert!(name.parse::<unanimity_protocol::key::KeyName>().is_ok(), "{name:?}");
    }
}

#[test]
fn signing_key_reads_back_from_its_private_key_line() {
    let secret = secret("key", 9);
    let read = NoteSigningKey::from_private_key_line(&secret.to_private_key_line()).unwrap();
    assert_eq!(read.public(), secret.public());
    assert_eq!(read.to_private_key_line(), secret.to_private_key_line());
    for (_, flipped) in flips(secret.to_private_key_line().as_bytes()) {
        let Ok(text) = String::from_utf8(flipped) else { continue };
        assert!(NoteSigningKey::from_private_key_line(&text).is_err(), "{text}");
    }
    assert!(NoteSigningKey::from_private_key_line(&secret.public().to_string()).is_err());
    assert!(secret.to_private_key_line().parse::<NoteVerifyingKey>().is_err());
}

#[test]
fn debug_of_a_signing_key_does_not_show_the_seed() {
    let seed: [u8; 32] = std::array::from_fn(|i| 0xa0 + i as u8);
    let secret = NoteSigningKey::from_seed("key".parse().unwrap(), &seed);
    let exposed = secret.to_private_key_line();
    let material = exposed.rsplit_once('+').unwrap().1;
    let hex: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
    for shown in [format!("{secret:?}"), format!("{secret:#?}"), format!("{:?}", Some(&secret))] {
        assert!(shown.contains("key"));
        for hidden in [material, &base64(&seed), &hex, &hex.to_uppercase(), &format!("{seed:?}")] {
            assert!(!shown.contains(hidden));
            assert!(!shown.contains(&hidden[hidden.len() / 2..]));
        }
    }
}

#[test]
fn signature_with_s_beyond_the_group_order_is_refused() {
    let secret = secret("key", 1);
    let good = signature(&secret);
    assert!(open(&secret, &good).is_ok());
    let mut bad = good;
    let mut carry = 0u16;
    for (byte, l) in bad[32..].iter_mut().zip(L) {
        carry += u16::from(*byte) + u16::from(l);
        *byte = carry as u8;
        carry >>= 8;
    }
    assert_eq!(carry, 0, "S + L fits 32 bytes");
    assert!(matches!(open(&secret, &bad), Err(NoteError::BadSignature(_))));
}

#[test]
fn keys_of_small_order_are_refused() {
    let y = |hex: &str| -> [u8; 32] {
        std::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
    };
    let points = [
        // Two points of order 1 and 2, two of order 4, and the four of order 8.
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        // Encodings of these points with coordinates that are not reduced.
        "0100000000000000000000000000000000000000000000000000000000000080",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ];
    for point in points {
        let raw = PublicKeyBytes(y(point));
        let name = || "weak".parse().unwrap();
        assert_eq!(NoteVerifyingKey::new(name(), raw), Err(KeyError::Point(name())), "{point}");
        assert_eq!(
            CosignatureVerifyingKey::new(name(), raw),
            Err(KeyError::Point(name())),
            "{point}"
        );
    }
}

#[test]
fn bytes_that_are_no_point_of_the_curve_are_refused() {
    let refused = (0..=255u8)
        .filter(|i| {
            NoteVerifyingKey::new("key".parse().unwrap(), PublicKeyBytes([*i; 32])).is_err()
        })
        .count();
    assert!((64..192).contains(&refused), "about half of all strings: {refused}");
}

/// `k * secret` for the 512-bit little-endian `k`, for any type of scalar.
fn multiply<S>(k: &[u8], secret: S, of: impl Fn(u64) -> S) -> S
where
    S: Copy + Add<Output = S> + Mul<Output = S>,
{
    k.iter().rev().fold(of(0), |sum, byte| sum * of(256) + of(u64::from(*byte))) * secret
}

fn like<S: From<u64>>(_: &S) -> impl Fn(u64) -> S + use<S> {
    S::from
}

/// `verify` accepts this signature. So this test fails if the crate uses it instead of
/// `verify_strict`.
#[test]
fn a_signature_whose_r_has_small_order_is_refused() {
    let secret = secret("key", 7);
    let signing = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let mut r = [0; 32];
    r[0] = 1; // The identity, of order 1.
    let k = Sha512::new()
        .chain_update(r)
        .chain_update(signing.verifying_key().as_bytes())
        .chain_update(TEXT)
        .finalize();
    let scalar = signing.to_scalar();
    let s = multiply(&k, scalar, like(&scalar)).to_bytes();
    let forged = [r, s].concat();

    let key = VerifyingKey::from_bytes(&secret.public().raw().0).unwrap();
    let parsed = Signature::from_slice(&forged).unwrap();
    assert!(key.verify(TEXT.as_bytes(), &parsed).is_ok(), "the equation holds");
    assert!(matches!(open(&secret, &forged), Err(NoteError::BadSignature(_))));
}

#[test]
fn a_signature_of_another_length_is_refused() {
    let secret = secret("key", 1);
    let good = signature(&secret);
    for length in 1..64 {
        assert!(matches!(open(&secret, &good[..length]), Err(NoteError::BadSignature(_))));
    }
    assert!(open(&secret, &[&good[..], &[0]].concat()).is_err());
    assert!(open(&secret, &[&good[..], &good].concat()).is_err());
}
