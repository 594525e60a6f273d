//! The control socket: a Unix socket by which an operator's commands reach the daemon.
//!
//! A connection carries one request. The protocol:
//!
//! 1. The command sends the request: one line of at most 64 KiB.
//! 2. The daemon sends progress lines, each with a line feed at its end.
//! 3. The daemon sends the answer, without a line feed, and closes the connection.
//!
//! A command that closes the connection first cancels its request. The socket has mode 0600, in a
//! directory of mode 0700.

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

/// The most commands that are served at once. A further command replaces the oldest one.
const MAX_COMMANDS: usize = 32;
/// The time for which a further command cannot replace a served one. Only commands that ask peers
/// take longer.
const MIN_CONNECTION_HOLD: Duration = Duration::from_secs(5);
/// The most bytes of a request.
const MAX_REQUEST_BYTES: u64 = 64 * 1024;
/// The most bytes of an answer.
const MAX_ANSWER_BYTES: u64 = 64 * 1024 * 1024;
/// The most progress lines that wait for a slow command.
const MAX_QUEUED_LINES: usize = 16;
/// The time limit for a command to send its request, and again to read the answer.
const FRAME_TIMEOUT: Duration = Duration::from_secs(10);

/// The exclusive use of a node's state, by a daemon or by a command that runs without one.
#[derive(Debug)]
pub struct ControlSocket {
    directory: PathBuf,
    _lock: Lock,
}

/// The reason why a process cannot use a node's state, or cannot open the socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlSocketError {
    /// The lock or its directory cannot be made.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Another process uses the state.
    #[error("another unanimity is using {}: a `serve` that is starting, or another command. Try again soon", .0.display())]
    Busy(PathBuf),
    /// The path is too long for a socket.
    #[error(transparent)]
    SocketPath(#[from] SocketPathError),
    /// The socket cannot be made.
    #[error("{}: {why}", path.display())]
    Socket {
        /// The path of the socket.
        path: PathBuf,
        /// The error of the operating system.
        why: io::Error,
    },
}

impl Classify for ControlSocketError {
    fn exit(&self) -> Exit {
        Exit::Disk
    }
}

impl ControlSocket {
    /// Takes the exclusive use of the state directory `state`, until the value is dropped.
    ///
    /// # Errors
    ///
    /// [`ControlSocketError::Busy`] if another process uses the state directory.
    pub fn new(state: &Path, disk: &Storage) -> Result<ControlSocket, ControlSocketError> {
        let directory = socket_directory(state);
        disk.make_dir(&directory, Mode::Private).map_err(StorageError::at(&directory))?;
        let lock = unanimity_storage::lock(&directory).map_err(StorageError::at(&directory))?;
        let lock = lock.ok_or_else(|| ControlSocketError::Busy(state.to_owned()))?;
        Ok(ControlSocket { directory, _lock: lock })
    }

    /// Opens the socket. It replaces a socket file that an earlier process left behind.
    ///
    /// # Errors
    ///
    /// [`ControlSocketError::SocketPath`] if the path is too long, and
    /// [`ControlSocketError::Socket`] if the socket cannot be made.
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

/// Sends a request to the daemon that uses `state`, and returns the daemon's answer. `None` if no
/// daemon runs. `on_line` gets every progress line before the answer, without the line feed.
///
/// # Errors
///
/// An error of the connection. A longer answer is cut off after 64 MiB, without an error.
pub async fn send_request(
    state: &Path,
    request: &str,
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
    stream.write_all(request.as_bytes()).await?;
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

/// The sender of progress lines to the command that waits for an answer.
#[derive(Debug)]
pub struct ProgressLines(mpsc::Sender<Vec<u8>>);

impl ProgressLines {
    /// Queues a line, given without its line feed. If the queue is full, the line is dropped: a
    /// slow command delays nothing.
    pub fn send(&self, mut line: Vec<u8>) {
        line.push(b'\n');
        self.0.try_send(line).ok();
    }
}

/// Answers every request with `answer`, forever.
///
/// - At most 32 commands are served at once. A further command replaces the oldest one, once the
///   oldest has been served for 5 s.
/// - A command that is slow to send its request, or to read the answer, is cut off after 10 s.
/// - If a command closes the connection, the future of `answer` is dropped at that point.
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
                // The usual cause is a lack of file descriptors. Other connections free theirs.
                tracing::warn!("the control socket: {error}");
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
    let mut request = Vec::new();
    let mut reader = BufReader::new(reader.take(MAX_REQUEST_BYTES));
    let read = timeout(FRAME_TIMEOUT, reader.read_until(b'\n', &mut request)).await;
    if matches!(read, Ok(Ok(_))) && request.pop() == Some(b'\n') {
        let (lines, mut queued) = mpsc::channel::<Vec<u8>>(MAX_QUEUED_LINES);
        // A slow command delays only this future, not the work of `answer`.
        let mut sending = pin!(maybe_done(async move {
            while let Some(line) = queued.recv().await {
                writer.write_all(&line).await?;
            }
            Ok::<_, io::Error>(writer)
        }));
        let send_lines = async {
            sending.as_mut().await;
            pending().await
        };
        let bytes = tokio::select! {
            bytes = answer(request, ProgressLines(lines)) => bytes,
            () = wait_for_hangup(&mut reader) => return,
            () = send_lines => return,
        };
        let rest = async {
            sending.as_mut().await;
            if let Some(Ok(mut writer)) = sending.take_output() {
                // The command may have closed the connection by now.
                writer.write_all(&bytes).await.ok();
            }
        };
        timeout(FRAME_TIMEOUT, rest).await.ok();
    }
}

/// Completes once the command has closed its sending direction. A command sends nothing after the
/// request, and keeps both directions open while it waits for the answer.
async fn wait_for_hangup(reader: &mut (impl AsyncRead + Unpin)) {
    tokio::io::copy(reader, &mut tokio::io::sink()).await.ok();
}
