//! The frames in `spec/vectors/messages`, each decoded as its kind of message.

use data_encoding::HEXLOWER;
use unanimity_net::message::{ANSWER_BYTES, Answer, QUESTION_BYTES, Question};
use unanimity_protocol::Tile;
use unanimity_testkit::vectors::compare_answers;

/// Reads the frame of a vector. Its file omits zeros at the end.
fn frame<const N: usize>(text: &[u8]) -> [u8; N] {
    let digits: Vec<u8> = text.iter().copied().filter(|c| !c.is_ascii_whitespace()).collect();
    let bytes = HEXLOWER.decode(&digits).expect("hexadecimal");
    let mut frame = [0; N];
    frame[..bytes.len()].copy_from_slice(&bytes);
    frame
}

fn read_question(file: &str, text: &[u8]) -> Result<String, String> {
    let frame: [u8; QUESTION_BYTES] = frame(text);
    let question = Question::decode(&frame).map_err(|error| error.to_string())?;
    assert_eq!(question.encode(), frame, "{file}: one message has one frame");
    Ok(match question {
        Question::CosignedHead(log) => format!("cosigned head of log {}", HEXLOWER.encode(&log.0)),
        Question::Tile(log, Tile { level, index, width }) => {
            let log = HEXLOWER.encode(&log.0);
            format!("tile of log {log}: level {level}, index {index}, width {width}")
        }
    })
}

fn read_answer(file: &str, text: &[u8]) -> Result<String, String> {
    let frame: [u8; ANSWER_BYTES] = frame(text);
    let answer = Answer::decode(&frame).map_err(|error| error.to_string())?;
    assert_eq!(answer.encode(), frame, "{file}: one message has one frame");
    Ok(match answer {
        Answer::CosignedHead(head) => format!("cosigned head of {} bytes", head.len()),
        Answer::Evidence(evidence) => format!("evidence of {} bytes", evidence.len()),
        Answer::NoFreshHead(since) => format!("no fresh head since {since}"),
        Answer::Tile(bytes) => format!("tile of {} bytes", bytes.len()),
        Answer::OtherLog => "other log".to_owned(),
        Answer::NoTile => "no tile".to_owned(),
    })
}

#[test]
fn messages_are_decoded_as_their_vectors_say() {
    compare_answers("messages", |file, text| match file.split_once('-') {
        Some(("question", _)) => read_question(file, text),
        Some(("answer", _)) => read_answer(file, text),
        _ => panic!("{file} is neither a question nor an answer"),
    });
}
