//! The socket by which an operator's commands reach the daemon that owns the state.
//!
//! One question for each connection: a line of at most 64 KiB. What comes back until the daemon closes
//! are lines that say how far it is, each with its end, and then the answer, which has none. Whoever
//! closes first wants no answer any more. File mode 0600, in a directory of mode 0700.

use std::fs::Permissions;
use std::future::pending;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::maybe_done;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use unanimity_config::socket_path::{SocketPathError, check_socket_path, socket_directory};
use unanimity_net::ConnectionLimit;
use unanimity_report::{Classify, Exit};
use unanimity_storage::{Lock, Mode, Storage, StorageError};

/// Commands at work at once. One more takes the place of the oldest.
const MAX_COMMANDS: usize = 32;
/// How long a command is sure of its place: all but those that ask peers are done long before.
const MIN_CONNECTION_HOLD: Duration = Duration::from_secs(5);
/// The most bytes of a question.
const MAX_REQUEST_BYTES: u64 = 64 * 1024;
/// The most bytes of an answer.
const MAX_ANSWER_BYTES: u64 = 64 * 1024 * 1024;
/// Lines that wait for somebody who is slow to take them.
const MAX_QUEUED_LINES: usize = 16;
/// Within which a question has to be said, and an answer taken.
const FRAME_TIMEOUT: Duration = Duration::from_secs(10);

/// The ownership of a node's state: one process at a time, be it a daemon or a single command.
#[derive(Debug)]
pub struct ControlSocket {
    directory: PathBuf,
    _lock: Lock,
}

/// The state has another owner, or none can be had.
#[derive(Debug, thiserror::Error)]
pub enum ControlSocketError {
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Another process.
    #[error("another unanimity is using {}: a `serve` that has just started, or a command that will soon end", .0.display())]
    Busy(PathBuf),
    /// No socket can have such a path.
    #[error(transparent)]
    SocketPath(#[from] SocketPathError),
    /// No socket.
    #[error("{}: {why}", path.display())]
    Socket {
        /// Where it should be.
        path: PathBuf,
        /// Why it is not.
        why: io::Error,
    },
}

impl Classify for ControlSocketError {
    fn exit(&self) -> Exit {
        Exit::Disk
    }
}

impl ControlSocket {
    /// Takes the ownership of a node's state.
    pub fn new(state: &Path, disk: &Storage) -> Result<ControlSocket, ControlSocketError> {
        let directory = socket_directory(state);
        disk.make_dir(&directory, Mode::Private).map_err(StorageError::at(&directory))?;
        let lock = unanimity_storage::lock(&directory).map_err(StorageError::at(&directory))?;
        let lock = lock.ok_or_else(|| ControlSocketError::Busy(state.to_owned()))?;
        Ok(ControlSocket { directory, _lock: lock })
    }

    /// Opens the socket. What an owner before us left there is replaced.
    pub fn listen(&self) -> Result<UnixListener, ControlSocketError> {
        check_socket_path(unanimity_storage::parent(&self.directory))?;
        let path = self.directory.join("socket");
        let bind = || {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let listener = UnixListener::bind(&path)?;
            std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
            Ok(listener)
        };
        bind().map_err(|why| ControlSocketError::Socket { path: path.clone(), why })
    }
}

/// Puts a question to the daemon that owns a state, and hears the lines before its answer.
/// `None`: there is none.
pub async fn send_request(
    state: &Path,
    question: &str,
    mut on_line: impl FnMut(&[u8]),
) -> io::Result<Option<Vec<u8>>> {
    if check_socket_path(state).is_err() {
        return Ok(None);
    }
    let mut stream = match UnixStream::connect(socket_directory(state).join("socket")).await {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    stream.write_all(question.as_bytes()).await?;
    stream.write_all(b"\n").await?;
    let mut reader = BufReader::new(stream.take(MAX_ANSWER_BYTES));
    loop {
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line).await?;
        if line.pop_if(|last| *last == b'\n').is_none() {
            return Ok(Some(line));
        }
        on_line(&line);
        reader.get_mut().set_limit(MAX_ANSWER_BYTES);
    }
}

/// What an answer says of itself before it is there.
#[derive(Debug)]
pub struct ProgressLines(mpsc::Sender<Vec<u8>>);

impl ProgressLines {
    /// Says a line, given without its end. Nobody waits for whoever is slow to take it: then it is
    /// never said.
    pub fn send(&self, mut line: Vec<u8>) {
        line.push(b'\n');
        self.0.try_send(line).ok();
    }
}

/// Answers every question with `answer`, at most 32 at once; one more takes the place of the
/// oldest, once that has had 5 s. Whoever is slow to say one, or to take the answer, is cut off, and
/// whoever hangs up is not worked for any longer: `answer` is dropped, wherever it is.
pub async fn serve_requests<F>(
    listener: UnixListener,
    answer: impl Fn(Vec<u8>, ProgressLines) -> F + Send + Sync + 'static,
) where
    F: Future<Output = Vec<u8>> + Send,
{
    let answer = Arc::new(answer);
    let mut commands = ConnectionLimit::new(MAX_COMMANDS, MIN_CONNECTION_HOLD);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                commands.acquire().await;
                let answer = answer.clone();
                commands.spawn(async move { serve_connection(stream, &*answer).await });
            }
            Err(error) => {
                // Out of file descriptors, mostly: others give theirs back.
                tracing::warn!("the socket: {error}");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn serve_connection<F: Future<Output = Vec<u8>>>(
    stream: UnixStream,
    answer: &impl Fn(Vec<u8>, ProgressLines) -> F,
) {
    let (reader, mut writer) = stream.into_split();
    let mut question = Vec::new();
    let mut reader = BufReader::new(reader.take(MAX_REQUEST_BYTES));
    let read = timeout(FRAME_TIMEOUT, reader.read_until(b'\n', &mut question)).await;
    if matches!(read, Ok(Ok(_))) && question.pop() == Some(b'\n') {
        let (lines, mut said) = mpsc::channel::<Vec<u8>>(MAX_QUEUED_LINES);
        // Held up by whoever is slow to take them, and by itself holding up nothing.
        let mut saying = pin!(maybe_done(async move {
            while let Some(line) = said.recv().await {
                writer.write_all(&line).await?;
            }
            Ok::<_, io::Error>(writer)
        }));
        let said = async {
            saying.as_mut().await;
            pending().await
        };
        let bytes = tokio::select! {
            bytes = answer(question, ProgressLines(lines)) => bytes,
            () = wait_for_hangup(&mut reader) => return,
            () = said => return,
        };
        let rest = async {
            saying.as_mut().await;
            if let Some(Ok(mut writer)) = saying.take_output() {
                // Whoever asked may be gone by now.
                writer.write_all(&bytes).await.ok();
            }
        };
        timeout(FRAME_TIMEOUT, rest).await.ok();
    }
}

/// Completes once nothing more can be heard. Nobody has anything to say after the question, so
/// whoever still waits for the answer keeps both directions open.
async fn wait_for_hangup(reader: &mut (impl AsyncRead + Unpin)) {
    tokio::io::copy(reader, &mut tokio::io::sink()).await.ok();
}
