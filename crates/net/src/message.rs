//! Messages between peers: one question and one answer, each in a frame of fixed size.
//!
//! ```text
//! 4 bytes    length N of the message, big-endian
//! N bytes    the message
//! the rest   zero, up to 256 bytes in all for a question and 8,448 for an answer
//! ```
//!
//! All questions have one size and all answers another, so a length reveals nothing. A question
//! fits one cell of Tor and an answer fits 17. The time for an answer depends mostly on the number
//! of its cells.
//!
//! The message is bincode with fixed-width little-endian integers (its "legacy" configuration): a
//! `u16` version, a `u32` variant, then the fields in order. A byte string is a `u64` length and
//! its bytes. `spec/vectors/messages` has the bytes of every variant. Nothing here is signed or
//! hashed, so the codec can change without touching a signature. Only this module names bincode.

use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use unanimity_protocol::Tile;
use unanimity_protocol::checkpoint::LogId;

/// Bytes of a question's frame: they fit one relay cell of 498 bytes, with room for later fields.
pub const QUESTION_BYTES: usize = 256;
/// Bytes of an answer's frame: a full tile of 8,192 bytes and its envelope, in 17 relay cells.
pub const ANSWER_BYTES: usize = 8448;
/// Bytes of the length field before the message.
const LENGTH_BYTES: usize = 4;
/// The version of the messages in this module.
pub const VERSION: u16 = 1;

/// A question of a client to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// The peer's cosigned head of this log. The question has no size and no root: the peer has
    /// nothing to echo, and learns nothing about the client.
    CosignedHead(LogId),
    /// A tile of the tree below the peer's cosigned head.
    Tile(LogId, Tile),
}

/// A peer's answer to a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The cosigned head: a checkpoint with the log's signature and the peer's cosignature, and no
    /// other signature.
    CosignedHead(String),
    /// No head, because the log has forked: the evidence of the fork.
    Evidence(String),
    /// No head, because none of the peer's mirrors has shown a fresh head since this time (seconds
    /// since 1970).
    NoFreshHead(u64),
    /// The bytes of the tile: 32 for each hash.
    Tile(Vec<u8>),
    /// The peer does not follow this log.
    OtherLog,
    /// The peer's tree has no such tile.
    NoTile,
}

#[derive(Serialize, Deserialize)]
enum WireQuestion {
    CosignedHead([u8; 32]),
    Tile { log: [u8; 32], level: u8, index: u64, width: u16 },
}

#[derive(Serialize, Deserialize)]
struct Envelope<M> {
    version: u16,
    message: M,
}

/// Why a frame was not received or was refused.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The stream ended or broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The length field announces more than a frame can hold.
    #[error("a frame that announces {announced} bytes, and at most {most} fit")]
    TooLong {
        /// The announced bytes.
        announced: u32,
        /// The most bytes that fit.
        most: usize,
    },
    /// The bytes after the message are not zero.
    #[error("a frame with something behind its message")]
    Padding,
    /// The bytes are not a message of this version.
    #[error("not a message of version {VERSION}: {0}")]
    Message(String),
    /// The message has another version.
    #[error(
        "messages of version {0}, and this program speaks version {VERSION}: one of the two needs an update"
    )]
    Version(u16),
}

const CODEC: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Fixint,
    bincode::config::Limit<ANSWER_BYTES>,
> = bincode::config::legacy().with_limit::<ANSWER_BYTES>();

impl Question {
    /// Encodes the question in a frame of [`QUESTION_BYTES`].
    pub fn encode(&self) -> Vec<u8> {
        let message = match *self {
            Question::CosignedHead(log) => WireQuestion::CosignedHead(log.0),
            Question::Tile(log, Tile { level, index, width }) => {
                WireQuestion::Tile { log: log.0, level, index, width }
            }
        };
        encode_frame::<QUESTION_BYTES>(message)
    }

    /// Decodes the question in a frame.
    pub fn decode(frame: &[u8; QUESTION_BYTES]) -> Result<Question, WireError> {
        Ok(match decode_frame(frame)? {
            WireQuestion::CosignedHead(log) => Question::CosignedHead(LogId(log)),
            WireQuestion::Tile { log, level, index, width } => {
                Question::Tile(LogId(log), Tile { level, index, width })
            }
        })
    }
}

impl Answer {
    /// Encodes the answer in a frame of [`ANSWER_BYTES`]. Heads, evidence and tiles have bounds
    /// where they are made, so they fit.
    pub fn encode(&self) -> Vec<u8> {
        encode_frame::<ANSWER_BYTES>(self)
    }

    /// Decodes the answer in a frame.
    pub fn decode(frame: &[u8; ANSWER_BYTES]) -> Result<Answer, WireError> {
        decode_frame(frame)
    }
}

fn encode_frame<const N: usize>(message: impl Serialize) -> Vec<u8> {
    let mut frame = vec![0; N];
    let envelope = Envelope { version: VERSION, message };
    let length = bincode::serde::encode_into_slice(envelope, &mut frame[LENGTH_BYTES..], CODEC)
        .expect("heads, evidence and tiles are bounded below a frame");
    frame[..LENGTH_BYTES].copy_from_slice(&(length as u32).to_be_bytes());
    frame
}

fn decode_frame<M: DeserializeOwned>(frame: &[u8]) -> Result<M, WireError> {
    let (length, rest) = frame.split_first_chunk::<LENGTH_BYTES>().expect("a frame is longer");
    let length = check_length(*length, rest.len())?;
    let (message, padding) = rest.split_at(length);
    // A fold without an early exit compiles to one pass of wide instructions.
    if padding.iter().fold(0, |all, byte| all | byte) != 0 {
        return Err(WireError::Padding);
    }
    if let Some((version, _)) = message.split_first_chunk::<2>()
        && u16::from_le_bytes(*version) != VERSION
    {
        return Err(WireError::Version(u16::from_le_bytes(*version)));
    }
    let malformed = |why: &dyn std::fmt::Display| WireError::Message(why.to_string());
    let (envelope, used): (Envelope<M>, usize) =
        bincode::serde::decode_from_slice(message, CODEC).map_err(|error| malformed(&error))?;
    if used != length {
        return Err(malformed(&"bytes left over"));
    }
    Ok(envelope.message)
}

/// Checks that a message of the announced length fits its frame.
fn check_length(length: [u8; LENGTH_BYTES], most: usize) -> Result<usize, WireError> {
    let announced = u32::from_be_bytes(length);
    if announced as usize > most {
        Err(WireError::TooLong { announced, most })
    } else {
        Ok(announced as usize)
    }
}

/// Sends a frame and flushes the stream, which may hold bytes back until a cell is full.
pub async fn send(stream: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> io::Result<()> {
    stream.write_all(frame).await?;
    stream.flush().await
}

/// Receives a frame of `N` bytes. An impossible length is refused before the rest is read. `None`
/// if the stream ended before a frame began.
pub async fn receive<const N: usize>(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<Box<[u8; N]>>, WireError> {
    // Allocated on the heap directly, without a copy on the stack.
    let frame = vec![0; N].into_boxed_slice();
    let mut frame: Box<[u8; N]> = frame.try_into().expect("N bytes");
    if stream.read(&mut frame[..1]).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut frame[1..LENGTH_BYTES]).await?;
    check_length([frame[0], frame[1], frame[2], frame[3]], N - LENGTH_BYTES)?;
    stream.read_exact(&mut frame[LENGTH_BYTES..]).await?;
    Ok(Some(frame))
}

/// Sends one question and receives one answer. The caller sets a deadline.
pub async fn exchange(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    question: &Question,
) -> Result<Answer, WireError> {
    send(stream, &question.encode()).await?;
    let frame = receive(stream).await?;
    Answer::decode(&*frame.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?)
}
