//! A running nginx on 127.0.0.1, with TLS and without, and the connector to it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, io};

use futures_util::future::BoxFuture;
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;
use tokio::net::TcpStream;
use unanimity_config::{MirrorSpec, MirrorUrl};
use unanimity_net::{ByteStream, Mirror, WebConnector};
use unanimity_testkit_tor::{DebianPackage, ExternalPrograms};

use super::BenchError;

const NGINX: DebianPackage = DebianPackage { name: "nginx", programs: &["nginx"], remark: "" };

/// A running nginx; dropping it ends the process.
pub(crate) struct Nginx {
    child: Child,
    port: u16,
    /// The port that serves the same files without TLS.
    pub(crate) plain_port: u16,
    directory: TempDir,
}

impl Nginx {
    /// Starts an nginx that serves `files`, with the settings that the README recommends.
    pub(crate) fn start(files: &Path) -> Result<Nginx, BenchError> {
        let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nginx-package");
        let programs = ExternalPrograms::find(&NGINX, &package, &mut |words| eprintln!("{words}"))?;
        let directory = TempDir::new()?;
        let free = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
        let [port, plain] = [free[0].local_addr()?.port(), free[1].local_addr()?.port()];
        drop(free);
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(["127.0.0.1".to_owned()])?.self_signed(&key)?;
        let at = |name: &str| directory.path().join(name);
        fs::write(at("mirror.pem"), certificate.pem())?;
        fs::write(at("mirror.key"), key.serialize_pem())?;
        let (scratch, files) = (directory.path().display(), files.display());
        let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {scratch}/{name};\n"))
            .concat();
        let text = format!(
            "daemon off;\nmaster_process off;\nerror_log {scratch}/error.log;\npid {scratch}/pid;\n\
             events {{}}\nhttp {{\nlog_format paths $uri;\naccess_log {scratch}/access.log paths;\n{paths}\
             root {files};\nserver {{\nlisten 127.0.0.1:{plain};\n}}\n\
             server {{\nlisten 127.0.0.1:{port} ssl;\n\
             ssl_certificate {scratch}/mirror.pem;\nssl_certificate_key {scratch}/mirror.key;\n\
             location = /checkpoint {{ add_header Cache-Control no-store; }}\n}}\n}}\n"
        );
        fs::write(at("nginx.conf"), text)?;
        let mut nginx = programs.command("nginx")?;
        nginx.arg("-p").arg(directory.path()).arg("-c").arg(at("nginx.conf"));
        nginx.arg("-e").arg(at("error.log"));
        let child = nginx.stdin(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut nginx = Nginx { child, port, plain_port: plain, directory };
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            if nginx.child.try_wait()?.is_some() || began.elapsed() > Duration::from_secs(20) {
                return Err(fs::read_to_string(nginx.directory.path().join("error.log"))?.into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(nginx)
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("mirror.pem")
    }

    /// Opens this nginx as a mirror whose certificate is pinned.
    pub(crate) fn mirror(&self) -> Result<Mirror, BenchError> {
        let site: MirrorUrl = self.url().parse()?;
        let (root, pem) = (self.root(), fs::read(self.root())?);
        let web: Arc<dyn WebConnector> = Arc::new(Loopback);
        Ok(Mirror::from_spec(&MirrorSpec::Pinned { url: site, root, pem }, Some(&web))?)
    }

    /// Returns the paths that clients requested since the last call.
    pub(crate) fn take_requested_paths(&self) -> Result<Vec<String>, BenchError> {
        let path = self.directory.path().join("access.log");
        let log = fs::read_to_string(&path)?;
        // nginx appends, so it continues at the start of the emptied file.
        fs::File::options().write(true).open(&path)?.set_len(0)?;
        Ok(log.lines().map(str::to_owned).collect())
    }

    /// Measures the duration of a shell command. `$1` is the URL of this nginx, and curl trusts the
    /// certificate of this nginx.
    pub(crate) fn run_shell(&self, command: &str) -> Result<Duration, BenchError> {
        let began = Instant::now();
        let mut shell = Command::new("sh");
        shell.args(["-ec", command, "sh", &self.url()]).env("CURL_CA_BUNDLE", self.root());
        shell.current_dir(self.directory.path());
        if !shell.status()?.success() {
            return Err(format!("this command failed: {command}").into());
        }
        Ok(began.elapsed())
    }

    /// Writes a file for the commands of [`Nginx::run_shell`].
    pub(crate) fn write_file(&self, name: &str, text: &str) -> Result<(), BenchError> {
        Ok(fs::write(self.directory.path().join(name), text)?)
    }

    pub(crate) fn url_of(&self, path: &str) -> String {
        format!("{}{path}", self.url())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A connector over plain TCP to 127.0.0.1. The program itself connects only through Tor.
struct Loopback;

impl WebConnector for Loopback {
    fn connect<'a>(
        &'a self,
        site: &'a MirrorUrl,
    ) -> BoxFuture<'a, io::Result<Box<dyn ByteStream>>> {
        Box::pin(async move {
            let stream = TcpStream::connect(("127.0.0.1", site.port)).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn ByteStream>)
        })
    }

    fn isolated(&self) -> Arc<dyn WebConnector> {
        Arc::new(Loopback)
    }
}
