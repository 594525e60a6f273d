//! The frames in `spec/vectors/messages`, each decoded as its kind of message.
//!
//! `spec/vectors/generate.py`, another implementation, writes them. A file's name is its claim.

use std::fs;
use std::path::Path;

use unanimity_net::message::{ANSWER_BYTES, Answer, QUESTION_BYTES, Question};

/// Reads the frame of a vector. Its file omits zeros at the end.
fn frame<const N: usize>(text: &str) -> [u8; N] {
    let digits: String = text.split_whitespace().collect();
    let bytes = data_encoding::HEXLOWER.decode(digits.as_bytes()).expect("hexadecimal");
    let mut frame = [0; N];
    frame[..bytes.len()].copy_from_slice(&bytes);
    frame
}

fn read(file: &str, text: &str) -> Result<String, String> {
    if file.starts_with("question-") {
        let frame: [u8; QUESTION_BYTES] = frame(text);
        let question = Question::decode(&frame).map_err(|error| error.to_string())?;
        assert_eq!(question.encode(), frame, "{file}: one message has one frame");
        return Ok(format!("{question:?}"));
    }
    assert!(file.starts_with("answer-"), "{file}");
    let frame: [u8; ANSWER_BYTES] = frame(text);
    let answer = Answer::decode(&frame).map_err(|error| error.to_string())?;
    assert_eq!(answer.encode(), frame, "{file}: one message has one frame");
    Ok(format!("{answer:?}"))
}

#[test]
fn decoder_agrees_with_the_vectors() {
    let mut wrong = Vec::new();
    for (directory, valid) in [("valid", true), ("invalid", false)] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/vectors/messages");
        let mut count = 0;
        for file in fs::read_dir(path.join(directory)).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let judged = read(&name, &fs::read_to_string(&path).unwrap());
            if judged.is_ok() != valid {
                wrong.push(format!("{directory}/{name}: {judged:?}"));
            }
            count += 1;
        }
        assert!(count > 0, "{directory} has no vectors");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
