//! Messages between peers: their exact bytes, and refused frames.

use std::fs;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep, timeout};
use unanimity_net::Listener as _;
use unanimity_net::message::{ANSWER_BYTES, Answer, QUESTION_BYTES, Question, VERSION, WireError};
use unanimity_protocol::checkpoint::{LogId, MAX_CHECKPOINT_TEXT};
use unanimity_protocol::evidence::MAX_EVIDENCE_BYTES;
use unanimity_protocol::tree::{MAX_PROOF, consistency_ranges, consistency_roots};
use unanimity_protocol::{
    CosignatureSigningKey, CosignedHead, Evidence, Hash, Log, Note, NoteSigningKey, PeerFailure,
    Tile, Timestamp, TreeHead,
};
use unanimity_testkit::World;
use unanimity_testkit::block_on::block_on;
use unanimity_testkit::scratch_dir::scratch_dir;

const LOG: LogId = LogId([
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25,
    26, 27, 28, 29, 30, 31,
]);

fn questions() -> [(&'static str, Question); 2] {
    let tile = Tile { level: 3, index: 0x0102_0304_0506_0708, width: 256 };
    [
        ("question-cosigned-head", Question::CosignedHead(LOG)),
        ("question-tile", Question::Tile(LOG, tile)),
    ]
}

fn answers() -> [(&'static str, Answer); 6] {
    [
        (
            "answer-cosigned-head",
            Answer::CosignedHead("log.example\n\n\u{2014} \u{e9}\n".to_owned()),
        ),
        ("answer-evidence", Answer::Evidence("unanimity/evidence/v1\n".to_owned())),
        ("answer-no-fresh-head", Answer::NoFreshHead(1_790_000_000)),
        ("answer-tile", Answer::Tile((128..192).collect())),
        ("answer-other-log", Answer::OtherLog),
        ("answer-no-tile", Answer::NoTile),
    ]
}

/// Reads the frame of a vector, and the number of its bytes before the padding.
fn vector<const N: usize>(name: &str) -> ([u8; N], usize) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/vectors/messages/valid");
    let text = fs::read_to_string(directory.join(format!("{name}.hex"))).expect("a vector");
    let digits: String = text.split_whitespace().collect();
    let bytes = data_encoding::HEXLOWER.decode(digits.as_bytes()).expect("hexadecimal");
    let mut frame = [0; N];
    frame[..bytes.len()].copy_from_slice(&bytes);
    (frame, bytes.len())
}

/// Makes a frame with a message, without the encoder.
fn framed<const N: usize>(message: &[u8]) -> [u8; N] {
    let mut frame = [0; N];
    frame[..4].copy_from_slice(&(message.len() as u32).to_be_bytes());
    frame[4..4 + message.len()].copy_from_slice(message);
    frame
}

/// A decoder of the layout in `src/message.rs`, without the codec.
mod by_hand {
    use super::*;

    struct MessageReader<'a>(&'a [u8]);

    impl<'a> MessageReader<'a> {
        fn take(&mut self, count: u64) -> Option<&'a [u8]> {
            let (taken, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
            self.0 = rest;
            Some(taken)
        }

        fn number(&mut self, width: u64) -> Option<u64> {
            Some(self.take(width)?.iter().rev().fold(0, |n, &byte| n << 8 | u64::from(byte)))
        }

        fn string(&mut self) -> Option<Vec<u8>> {
            let length = self.number(8)?;
            self.take(length).map(<[u8]>::to_vec)
        }

        fn text(&mut self) -> Option<String> {
            String::from_utf8(self.string()?).ok()
        }

        fn log(&mut self) -> Option<LogId> {
            Some(LogId(self.take(32)?.try_into().ok()?))
        }
    }

    fn message(frame: &[u8]) -> Option<MessageReader<'_>> {
        let length = frame[..4].iter().fold(0u64, |n, &byte| n << 8 | u64::from(byte));
        let mut rest = MessageReader(&frame[4..]);
        let mut message = MessageReader(rest.take(length)?);
        (rest.0.iter().all(|&byte| byte == 0) && message.number(2)? == 1).then_some(message)
    }

    pub(super) fn question(frame: &[u8; QUESTION_BYTES]) -> Option<Question> {
        let mut message = message(frame)?;
        let question = match message.number(4)? {
            0 => Question::CosignedHead(message.log()?),
            1 => {
                let log = message.log()?;
                let level = message.number(1)? as u8;
                let index = message.number(8)?;
                let width = message.number(2)? as u16;
                Question::Tile(log, Tile { level, index, width })
            }
            _ => return None,
        };
        message.0.is_empty().then_some(question)
    }

    pub(super) fn answer(frame: &[u8; ANSWER_BYTES]) -> Option<Answer> {
        let mut message = message(frame)?;
        let answer = match message.number(4)? {
            0 => Answer::CosignedHead(message.text()?),
            1 => Answer::Evidence(message.text()?),
            2 => Answer::NoFreshHead(message.number(8)?),
            3 => Answer::Tile(message.string()?),
            4 => Answer::OtherLog,
            5 => Answer::NoTile,
            _ => return None,
        };
        message.0.is_empty().then_some(answer)
    }
}

#[test]
fn every_message_has_the_bytes_of_its_vector() {
    for (name, question) in questions() {
        let (frame, _) = vector(name);
        assert!(question.encode() == frame, "{name}: {:02x?}", &question.encode()[..80]);
        assert_eq!(Question::decode(&frame).unwrap(), question, "{name}");
        assert_eq!(by_hand::question(&frame), Some(question), "{name}");
    }
    for (name, answer) in answers() {
        let (frame, _) = vector(name);
        assert!(answer.encode() == frame, "{name}: {:02x?}", &answer.encode()[..80]);
        assert_eq!(Answer::decode(&frame).unwrap(), answer, "{name}");
        assert_eq!(by_hand::answer(&frame), Some(answer), "{name}");
    }
}

#[test]
fn every_variant_has_one_vector() {
    // A new variant does not compile here until it has a vector.
    let (mut named, mut found) = (Vec::new(), Vec::new());
    for (name, question) in questions() {
        named.push(name);
        match question {
            Question::CosignedHead(_) | Question::Tile(..) => {}
        }
    }
    for (name, answer) in answers() {
        named.push(name);
        match answer {
            Answer::CosignedHead(_)
            | Answer::Evidence(_)
            | Answer::NoFreshHead(_)
            | Answer::Tile(_)
            | Answer::OtherLog
            | Answer::NoTile => {}
        }
    }
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/vectors/messages/valid");
    for file in fs::read_dir(directory).unwrap() {
        found.push(file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned());
    }
    named.sort_unstable();
    found.sort_unstable();
    assert_eq!(named, found);
}

/// Changes every single bit of a vector, and a sample of its padding. The decoder must agree with
/// the layout, and must not return the original message.
fn check_bit_changes<const N: usize, M: PartialEq + std::fmt::Debug>(
    name: &str,
    parse: impl Fn(&[u8; N]) -> Result<M, WireError>,
    by_hand: impl Fn(&[u8; N]) -> Option<M>,
) {
    let (whole, used) = vector::<N>(name);
    let original = parse(&whole).ok();
    let padding = (used..N).step_by(97).chain([N - 1]);
    for at in (0..used).chain(padding) {
        for bit in 0..8 {
            let mut frame = whole;
            frame[at] ^= 1 << bit;
            let read = parse(&frame);
            assert_eq!(read.as_ref().ok(), by_hand(&frame).as_ref());
            if at >= used {
                assert!(matches!(read, Err(WireError::Padding)));
            } else if read.is_ok() {
                assert_ne!(read.ok(), original, "{name}, byte {at}, bit {bit}");
            }
        }
    }
}

#[test]
fn changed_bit_is_refused_or_changes_the_message() {
    // Each vector is decoded as both kinds of message.
    for (name, _) in questions() {
        check_bit_changes(name, Question::decode, by_hand::question);
        check_bit_changes(name, Answer::decode, by_hand::answer);
    }
    for (name, _) in answers() {
        check_bit_changes(name, Question::decode, by_hand::question);
        check_bit_changes(name, Answer::decode, by_hand::answer);
    }
}

fn check_length_refusals<const N: usize, M: std::fmt::Debug>(
    parse: impl Fn(&[u8; N]) -> Result<M, WireError>,
) {
    for length in [u32::MAX, 1 << 31, N as u32, N as u32 - 3] {
        let refused = |error| matches!(error, WireError::TooLong { announced, most } if (announced, most) == (length, N - 4));
        let mut frame = [0; N];
        frame[..4].copy_from_slice(&length.to_be_bytes());
        assert!(refused(parse(&frame).unwrap_err()));
        let mut stream = &frame[..];
        assert!(refused(block_on(unanimity_net::message::receive::<N>(&mut stream)).unwrap_err()));
        assert_eq!(stream.len(), N - 4, "only the length was read");
    }
    let mut frame = [0; N];
    frame[..4].copy_from_slice(&(N as u32 - 4).to_be_bytes());
    assert!(
        block_on(unanimity_net::message::receive::<N>(&mut &frame[..])).unwrap().is_some(),
        "the largest possible length is read"
    );
}

#[test]
fn impossible_length_is_refused_before_the_rest_is_read() {
    check_length_refusals(Question::decode);
    check_length_refusals(Answer::decode);
}

#[test]
fn decode_refuses_an_empty_message() {
    let error = Answer::decode(&[0; ANSWER_BYTES]).unwrap_err();
    assert!(matches!(error, WireError::Message(_)), "{error}");
    assert!(matches!(Question::decode(&framed(&[1])), Err(WireError::Message(_))));
}

/// Checks that other versions are refused. Returns the messages of the errors.
fn check_version_refusals<const N: usize, M: std::fmt::Debug>(
    name: &str,
    parse: impl Fn(&[u8; N]) -> Result<M, WireError>,
) -> String {
    let mut messages = String::new();
    for version in [0, 2, 256, u16::MAX] {
        let (mut frame, _) = vector(name);
        frame[4..6].copy_from_slice(&version.to_le_bytes());
        let error = parse(&frame).unwrap_err();
        assert!(matches!(error, WireError::Version(v) if v == version));
        messages += &format!("{name}: {error}\n");
        // The version is checked before the rest of the message.
        let mut unknown = framed(&[0xff; 40]);
        unknown[4..6].copy_from_slice(&version.to_le_bytes());
        assert!(matches!(parse(&unknown), Err(WireError::Version(v)) if v == version));
    }
    messages
}

#[test]
fn decode_refuses_another_version_with_its_own_error() {
    let messages = check_version_refusals("answer-no-tile", Answer::decode)
        + &check_version_refusals("question-cosigned-head", Question::decode);
    snapbox::assert_data_eq!(messages, snapbox::file!["words/other_versions.txt"]);
    assert_eq!(VERSION, 1);
}

#[test]
fn decode_refuses_a_string_longer_than_the_message() {
    for variant in [0u32, 1, 3] {
        for length in [u64::MAX, 1 << 63, 1 << 40, 1 << 32, 8431, 8430, 9] {
            let message = [
                &1u16.to_le_bytes()[..],
                &variant.to_le_bytes(),
                &length.to_le_bytes(),
                b"8 bytes.",
            ]
            .concat();
            let error = Answer::decode(&framed(&message)).unwrap_err();
            assert!(matches!(error, WireError::Message(_)), "{length}: {error}");
        }
    }
}

#[test]
fn decode_refuses_a_head_that_is_not_utf8_or_has_bytes_after_it() {
    let message = |length: u64, bytes: &[u8]| {
        framed(&[&[1, 0, 0, 0, 0, 0][..], &length.to_le_bytes(), bytes].concat())
    };
    assert_eq!(Answer::decode(&message(2, b"ab")).unwrap(), Answer::CosignedHead("ab".to_owned()));
    assert!(Answer::decode(&message(2, b"a\xff")).is_err());
    assert!(Answer::decode(&message(1, b"ab")).is_err());
}

#[test]
fn stream_end_is_an_error_only_inside_a_frame() {
    let (frame, _) = vector::<ANSWER_BYTES>("answer-tile");
    let received = |bytes: &[u8]| {
        let mut stream = bytes;
        block_on(unanimity_net::message::receive::<ANSWER_BYTES>(&mut stream))
    };
    assert!(matches!(received(&[]), Ok(None)));
    for length in 1..ANSWER_BYTES {
        let error = received(&frame[..length]).expect_err("half a frame");
        let WireError::Io(error) = error else { panic!("{error}") };
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{length} bytes");
    }
    assert_eq!(**received(&frame).unwrap().as_ref().unwrap(), frame);
    // The bytes after a frame stay on the stream.
    let two = [&frame[..], &frame[..]].concat();
    let mut stream = &two[..];
    for _ in 0..2 {
        assert_eq!(
            *block_on(unanimity_net::message::receive(&mut stream)).unwrap().unwrap(),
            frame
        );
    }
    assert!(
        block_on(unanimity_net::message::receive::<ANSWER_BYTES>(&mut stream)).unwrap().is_none()
    );
}

#[test]
fn exchange_fails_if_the_peer_disconnects() {
    let (mut ours, theirs) = tokio::io::duplex(2 * ANSWER_BYTES);
    drop(theirs);
    let asked = block_on(unanimity_net::message::exchange(&mut ours, &Question::CosignedHead(LOG)));
    assert!(matches!(asked, Err(WireError::Io(_))));
}

#[tokio::test(start_paused = true)]
async fn one_byte_per_second_does_not_outlast_the_deadline() {
    let (mut ours, mut theirs) = tokio::io::duplex(2 * ANSWER_BYTES);
    let slow_peer = tokio::spawn(async move {
        for byte in Answer::NoTile.encode() {
            theirs.write_all(&[byte]).await.unwrap();
            sleep(Duration::from_secs(1)).await;
        }
    });
    let (begun, deadline) = (Instant::now(), Duration::from_secs(90));
    let asked = timeout(
        deadline,
        unanimity_net::message::exchange(&mut ours, &Question::CosignedHead(LOG)),
    )
    .await;
    asked.expect_err("one byte per second takes hours");
    assert_eq!(begun.elapsed(), deadline);
    slow_peer.abort();
}

#[tokio::test(start_paused = true)]
async fn slow_peer_times_out_without_delaying_other_peers() {
    let scratch = scratch_dir();
    let mut world = World::create(scratch.path(), 7, Timestamp(1_790_000_000)).unwrap();
    world.poll_all().await.unwrap();
    world.replace_peer(2, |mut listener| async move {
        while let Ok(mut stream) = listener.accept().await {
            for byte in Answer::OtherLog.encode() {
                if stream.write_all(&[byte]).await.is_err() {
                    break;
                }
                sleep(Duration::from_secs(1)).await;
            }
        }
    });
    world.config.cycle.ask_timeout = Duration::from_secs(90);
    world.config.cycle.round_timeout = Duration::from_secs(90);
    let begun = Instant::now();
    let (report, outcome) = world.check().await;
    assert!(outcome.is_err(), "silence is not consent");
    assert_eq!(begun.elapsed(), Duration::from_secs(90));
    for (name, answer) in report.peers {
        let is_late = matches!(answer, Err(PeerFailure::TimedOut));
        assert_eq!(is_late, name == World::peer_name(2), "{name}: {answer:?}");
    }
}

/// Makes the largest possible head: a text of 2,048 bytes, and a key with a name of 255 bytes.
fn largest_head(size: u64, root: &Hash) -> (TreeHead, Log, CosignatureSigningKey) {
    let name = |c: &str| c.repeat(255).parse().unwrap();
    let secret = NoteSigningKey::from_seed(name("l"), &[1; 32]);
    let log = Log { origin: "o".repeat(255).parse().unwrap(), key: secret.public() };
    let mut text = format!("{}\n{size}\n{}\n", log.origin, root.base64());
    text.push_str(&"x".repeat(MAX_CHECKPOINT_TEXT - text.len() - 1));
    text.push('\n');
    let mut note = Note::unsigned(&text).unwrap();
    note.sign(&secret);
    let head = TreeHead::verify(note.to_string().as_bytes(), &log).expect("within every bound");
    (head, log, CosignatureSigningKey::from_seed(name("p"), &[2; 32]))
}

#[test]
fn largest_cosigned_head_fits_a_frame() {
    let (head, log, peer) = largest_head((1 << 63) - 1, &Hash([7; 32]));
    let signed = CosignedHead::sign(&head, &peer, Timestamp::MAX);
    let frame = Answer::CosignedHead(signed.note().to_owned()).encode();
    assert_eq!(frame.len(), ANSWER_BYTES);
    let Answer::CosignedHead(note) = Answer::decode(frame[..].try_into().unwrap()).unwrap() else {
        panic!("not a cosigned head")
    };
    assert_eq!(
        CosignedHead::verify(note.as_bytes(), &log, &peer.public()).unwrap().note(),
        signed.note()
    );
}

#[test]
fn largest_evidence_fits_a_frame() {
    // The proof has as many hashes as two sizes can need. Their root is signed as the larger head.
    let (old, new) = ((1 << 62) + 1, (1 << 63) - 1);
    let path = vec![Hash([9; 32]); consistency_ranges(old, new).len()];
    let (_, root) = consistency_roots(old, new, &path).expect("a path of the right length");
    let (larger, log, _) = largest_head(new, &root);
    let (smaller, ..) = largest_head(old, &Hash([7; 32]));
    let evidence = Evidence::from_heads(&smaller, &larger, &path).expect("a contradiction");
    let text = evidence.to_string();
    let frame = Answer::Evidence(text.clone()).encode();
    let Answer::Evidence(read) = Answer::decode(frame[..].try_into().unwrap()).unwrap() else {
        panic!("not evidence")
    };
    assert_eq!(Evidence::verify(&read, &log).unwrap(), evidence);
    // A proof with the most hashes that the format allows fits, too.
    let more = (MAX_PROOF - path.len()) * 45;
    assert!(text.len() + more <= MAX_EVIDENCE_BYTES, "{} bytes", text.len() + more);
    let most = Answer::Evidence("x".repeat(MAX_EVIDENCE_BYTES)).encode();
    assert!(Answer::decode(most[..].try_into().unwrap()).is_ok());
}

#[test]
fn largest_tile_fits_a_frame() {
    let tile = Answer::Tile(vec![0xff; 256 * 32]);
    assert_eq!(Answer::decode(tile.encode()[..].try_into().unwrap()).unwrap(), tile);
}

#[test]
fn all_questions_have_one_size_and_all_answers_another() {
    for (name, question) in questions() {
        assert_eq!(question.encode().len(), QUESTION_BYTES, "{name}");
    }
    for (name, answer) in answers() {
        assert_eq!(answer.encode().len(), ANSWER_BYTES, "{name}");
    }
}

proptest! {
    #[test]
    fn decoder_agrees_with_the_layout(
        version in prop_oneof![9 => Just(1u16), 1 => any::<u16>()],
        variant in 0u32..8,
        body in proptest::collection::vec(any::<u8>(), 0..64),
        length in prop_oneof![Just(None), (0u64..64).prop_map(Some)],
    ) {
        let length = length.map(u64::to_le_bytes).unwrap_or_default();
        let length = if length == [0; 8] { &[][..] } else { &length[..] };
        let message =
            [&version.to_le_bytes()[..], &variant.to_le_bytes(), length, &body].concat();
        let frame = framed(&message);
        prop_assert_eq!(Question::decode(&frame).ok(), by_hand::question(&frame));
        let frame = framed(&message);
        prop_assert_eq!(Answer::decode(&frame).ok(), by_hand::answer(&frame));
    }

    #[test]
    fn decode_returns_the_encoded_answer(
        text in "\\PC{0,200}",
        bytes in proptest::collection::vec(any::<u8>(), 0..8192),
        number: u64,
    ) {
        for answer in [
            Answer::CosignedHead(text.clone()),
            Answer::Evidence(text.clone()),
            Answer::Tile(bytes.clone()),
            Answer::NoFreshHead(number),
        ] {
            let frame = answer.encode();
            let frame: &[u8; ANSWER_BYTES] = frame[..].try_into().unwrap();
            let by_hand = by_hand::answer(frame);
            prop_assert_eq!(by_hand.as_ref(), Some(&answer));
            prop_assert_eq!(Answer::decode(frame).unwrap(), answer);
        }
    }
}
