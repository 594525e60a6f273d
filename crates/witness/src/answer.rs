//! Answers to the questions of peers, from the stored state of the witness.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use unanimity_net::message::{Answer, Question};
use unanimity_net::{
    ConnectionLimit, Listener,
    message::{self},
};
use unanimity_protocol::{CosignedHead, Hash, Tile};
use unanimity_storage::{Clock, StorageError};

use crate::Witness;

/// The most connections that are answered at once.
pub const MAX_STREAMS: usize = 64;
/// Time for which a connection cannot be displaced by a waiting one.
pub const MIN_CONNECTION_HOLD: Duration = Duration::from_secs(5);
/// The most questions that are answered on one connection.
pub const MAX_QUESTIONS: usize = 1024;
/// The longest duration of one connection.
pub const STREAM_TIMEOUT: Duration = Duration::from_secs(120);
/// The longest duration of receiving or sending one frame.
pub const FRAME_TIMEOUT: Duration = Duration::from_secs(30);

impl<C: Clock> Witness<C> {
    /// Answers a question from the stored state, without any fetching.
    ///
    /// A question for the head gets the cosigned head, evidence of a fork, or the time since which
    /// no mirror has shown the head. A question about another log gets [`Answer::OtherLog`].
    ///
    /// # Errors
    ///
    /// The stored state cannot be read.
    pub fn answer(&self, question: Question) -> Result<Answer, StorageError> {
        let log = match question {
            Question::CosignedHead(log) | Question::Tile(log, _) => log,
        };
        if log != self.config.log.id() {
            return Ok(Answer::OtherLog);
        }
        match question {
            Question::CosignedHead(_) => self.answer_head(),
            Question::Tile(_, tile) => {
                Ok(self.read_tile(tile)?.map_or(Answer::NoTile, Answer::Tile))
            }
        }
    }

    /// Reads a tile of the witness's tree, as bytes. `None` if the tree is too small for it.
    pub(crate) fn read_tile(&self, tile: Tile) -> Result<Option<Vec<u8>>, StorageError> {
        let state = self.state();
        if !tile.is_within(state.tiles.size()) {
            return Ok(None);
        }
        let stored = Tile::at(tile.level, tile.index, state.tiles.size());
        let hashes = state.tiles.read(stored.unwrap_or(tile))?;
        let hashes = hashes.iter().take(usize::from(tile.width));
        Ok(Some(hashes.flat_map(|Hash(bytes)| *bytes).collect()))
    }

    fn answer_head(&self) -> Result<Answer, StorageError> {
        if let Some(id) = self.evidence.find_unacknowledged()? {
            let text = self.evidence.text(&id).map_err(|_| StorageError::Corrupt {
                path: self.directory.clone(),
                remedy: "the evidence of a fork in it cannot be read",
            })?;
            return Ok(Answer::Evidence(text));
        }
        let (now, state) = (self.clock.now(), self.state());
        match &state.head {
            Some(head) if state.is_fresh(now, &self.config.polling) => Ok(Answer::CosignedHead(
                CosignedHead::sign(head, &self.config.signing_key, now).note().to_owned(),
            )),
            _ => Ok(Answer::NoFreshHead(state.last_shown_at.0)),
        }
    }

    /// Answers the questions on one connection, in order.
    ///
    /// The connection ends when the client closes it, after [`MAX_QUESTIONS`] questions, or after
    /// [`STREAM_TIMEOUT`]. A client with more questions connects again, so that other clients get
    /// their turn.
    ///
    /// # Errors
    ///
    /// A frame is malformed, takes longer than [`FRAME_TIMEOUT`], or cannot be sent; the connection
    /// lasts too long; or the stored state cannot be read.
    pub async fn serve_connection(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
    ) -> io::Result<()> {
        timeout(STREAM_TIMEOUT, self.answer_questions(stream)).await?
    }

    async fn answer_questions(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
    ) -> io::Result<()> {
        let malformed =
            |error: message::WireError| io::Error::new(io::ErrorKind::InvalidData, error);
        for _ in 0..MAX_QUESTIONS {
            let frame =
                timeout(FRAME_TIMEOUT, message::receive(&mut stream)).await?.map_err(malformed)?;
            let Some(frame) = frame else { return Ok(()) };
            let question = Question::decode(&frame).map_err(malformed)?;
            let answer = self.answer(question).map_err(io::Error::other)?;
            timeout(FRAME_TIMEOUT, message::send(&mut stream, &answer.encode())).await??;
        }
        Ok(())
    }

    /// Answers all connections until the listener ends, at most [`MAX_STREAMS`] at once.
    ///
    /// At this limit, a new connection displaces the oldest one, once the oldest has lasted
    /// [`MIN_CONNECTION_HOLD`]. A client with many connections therefore cannot exclude others. A
    /// failed connection does not affect the others.
    pub async fn serve_connections(self: Arc<Self>, mut listener: impl Listener)
    where
        C: 'static,
    {
        let mut streams = ConnectionLimit::new(MAX_STREAMS, MIN_CONNECTION_HOLD);
        while let Ok(stream) = listener.accept().await {
            streams.acquire().await;
            let witness = self.clone();
            streams.spawn(async move {
                if let Err(error) = witness.serve_connection(stream).await {
                    tracing::debug!("a connection ended: {error}");
                }
            });
        }
    }
}
