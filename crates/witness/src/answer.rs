//! Answering: what a peer says to whoever connects, from what it already holds.

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

/// Connections answered at once.
pub const MAX_STREAMS: usize = 64;
/// How long a connection is sure of its place, however many others wait for one.
pub const MIN_CONNECTION_HOLD: Duration = Duration::from_secs(5);
/// Questions answered on one connection.
pub const MAX_QUESTIONS: usize = 1024;
/// How long one connection may last.
pub const STREAM_TIMEOUT: Duration = Duration::from_secs(120);
/// How long one frame may take to arrive or to leave.
pub const FRAME_TIMEOUT: Duration = Duration::from_secs(30);

impl<C: Clock> Witness<C> {
    /// Answers from what is already held.
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

    /// A tile of our tree, as its bytes.
    pub(crate) fn read_tile(&self, tile: Tile) -> Result<Option<Vec<u8>>, StorageError> {
        let state = self.state();
        if !tile.is_within(state.tiles.size()) {
            return Ok(None);
        }
        let held = Tile::at(tile.level, tile.index, state.tiles.size());
        let hashes = state.tiles.read(held.unwrap_or(tile))?;
        let hashes = hashes.iter().take(usize::from(tile.width));
        Ok(Some(hashes.flat_map(|Hash(bytes)| *bytes).collect()))
    }

    fn answer_head(&self) -> Result<Answer, StorageError> {
        if let Some(id) = self.evidence.find_unacknowledged()? {
            let text = self.evidence.text(&id).map_err(|_| StorageError::Corrupt {
                path: self.directory.clone(),
                remedy: "the evidence in it cannot be read",
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

    /// Answers one connection until it ends, errs, stalls, has asked enough or has lasted long
    /// enough: whoever has more to ask connects again, and others get their turn.
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
        let bad = |error: message::WireError| io::Error::new(io::ErrorKind::InvalidData, error);
        for _ in 0..MAX_QUESTIONS {
            let frame =
                timeout(FRAME_TIMEOUT, message::receive(&mut stream)).await?.map_err(bad)?;
            let Some(frame) = frame else { return Ok(()) };
            let question = Question::decode(&frame).map_err(bad)?;
            let answer = self.answer(question).map_err(io::Error::other)?;
            timeout(FRAME_TIMEOUT, message::send(&mut stream, &answer.encode())).await??;
        }
        Ok(())
    }

    /// Answers whoever connects, at most 64 at once, until the listener ends. One more takes the
    /// place of the oldest, once that has had 5 s: whoever holds many crowds nobody out.
    /// A connection that fails concerns nobody else.
    pub async fn serve_connections(self: Arc<Self>, mut listener: impl Listener)
    where
        C: 'static,
    {
        let mut streams = ConnectionLimit::new(MAX_STREAMS, MIN_CONNECTION_HOLD);
        while let Ok(stream) = listener.accept().await {
            streams.acquire().await;
            let peer = self.clone();
            streams.spawn(async move {
                if let Err(error) = peer.serve_connection(stream).await {
                    tracing::debug!("a connection ended: {error}");
                }
            });
        }
    }
}
