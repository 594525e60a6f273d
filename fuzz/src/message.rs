//! Questions and answers between peers: whole frames, messages that the target frames, and streams.
//!
//! A decoded message encodes to the frame from which it was decoded. A stream yields a frame only
//! if the frame is complete and its length field is valid.

use futures_util::FutureExt as _;
use unanimity_net::message::{ANSWER_BYTES, Answer, QUESTION_BYTES, Question, receive};

/// Checks one input. The lowest bit of the first byte chooses whether the rest is a frame or a
/// message. The next bit chooses whether the answer's frame is also read as a stream, whole and
/// truncated.
pub fn check(data: &[u8]) {
    let Some((&how, bytes)) = data.split_first() else { return };
    let is_whole = how & 1 == 1;
    let question = frame::<QUESTION_BYTES>(bytes, is_whole);
    if let Ok(message) = Question::decode(&question) {
        assert_eq!(message.encode(), *question);
    }
    let answer = frame::<ANSWER_BYTES>(bytes, is_whole);
    if let Ok(message) = Answer::decode(&answer) {
        assert_eq!(message.encode(), *answer);
    }
    stream::<QUESTION_BYTES>(bytes);
    if how & 2 == 2 {
        stream::<ANSWER_BYTES>(&*answer);
        stream::<ANSWER_BYTES>(&answer[..bytes.len().min(ANSWER_BYTES)]);
    }
}

fn frame<const N: usize>(bytes: &[u8], is_whole: bool) -> Box<[u8; N]> {
    let mut frame = vec![0; N];
    let start = if is_whole { 0 } else { 4 };
    let length = bytes.len().min(N - start);
    frame[start..start + length].copy_from_slice(&bytes[..length]);
    if !is_whole {
        frame[..4].copy_from_slice(&(length as u32).to_be_bytes());
    }
    frame.into_boxed_slice().try_into().expect("N bytes")
}

fn stream<const N: usize>(bytes: &[u8]) {
    let mut stream = bytes;
    let received = receive::<N>(&mut stream).now_or_never().expect("a slice never waits");
    let announced = bytes.first_chunk::<4>().map(|length| u32::from_be_bytes(*length) as usize);
    match received {
        Ok(None) => assert!(bytes.is_empty()),
        Ok(Some(frame)) => {
            assert_eq!(bytes.get(..N), Some(&frame[..]));
            assert!(announced.is_some_and(|length| length <= N - 4));
        }
        Err(_) => assert!(bytes.len() < N || announced.is_some_and(|length| length > N - 4)),
    }
}
