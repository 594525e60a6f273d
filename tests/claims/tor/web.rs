//! Mirrors on the network: nginx, over TLS through an exit relay, and behind an onion service.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;
use unanimity_testkit::{PEER_NAMES, ReleaseSpec};
use unanimity_testkit_tor::{DebianPackage, ExternalPrograms, PrivateTorNetwork};

use super::{TorTestWorld, leaks};

const NGINX: DebianPackage = DebianPackage { name: "nginx", programs: &["nginx"], remark: "" };

/// nginx that serves a directory on 127.0.0.1, on one port as plain HTTP and on another over TLS.
struct NginxProcess {
    child: Child,
    plain: u16,
    tls: u16,
    directory: TempDir,
}

impl NginxProcess {
    fn start(files: &Path) -> NginxProcess {
        let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nginx-package");
        let programs = ExternalPrograms::find(&NGINX, &package, &mut |_| {}).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let free = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (plain, tls) = (free(), free());
        let (plain, tls) = (plain.local_addr().unwrap().port(), tls.local_addr().unwrap().port());
        let key = KeyPair::generate().unwrap();
        let names = ["127.0.0.1".to_owned(), "mirror.test".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("mirror.pem"), certificate.pem()).unwrap();
        fs::write(at("mirror.key"), key.serialize_pem()).unwrap();
        let base = directory.path().display();
        let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {base}/{name};\n"))
            .concat();
        // The configuration from the book, with other paths and without privileges.
        let text = format!(
            "daemon off;\nmaster_process off;\nerror_log {base}/error.log;\npid {base}/pid;\n\
             events {{}}\nhttp {{\naccess_log off;\n{paths}\
             server {{\nlisten 127.0.0.1:{plain};\nroot {files};\n\
             location = /checkpoint {{ add_header Cache-Control no-store; }}\n}}\n\
             server {{\nlisten 127.0.0.1:{tls} ssl;\nroot {files};\n\
             ssl_certificate {base}/mirror.pem;\nssl_certificate_key {base}/mirror.key;\n\
             location = /checkpoint {{ add_header Cache-Control no-store; }}\n}}\n}}\n",
            files = files.display(),
        );
        fs::write(at("nginx.conf"), text).unwrap();
        let mut nginx = programs.command("nginx").unwrap();
        nginx.arg("-p").arg(directory.path()).arg("-c").arg(at("nginx.conf"));
        nginx.arg("-e").arg(at("error.log"));
        let child = nginx.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut nginx = NginxProcess { child, plain, tls, directory };
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", plain)).is_err() {
            let result = nginx.child.try_wait().unwrap();
            let log = fs::read_to_string(nginx.directory.path().join("error.log"));
            assert!(result.is_none() && began.elapsed() < Duration::from_secs(20), "{log:?}");
            std::thread::park_timeout(Duration::from_millis(20));
        }
        nginx
    }
}

impl Drop for NginxProcess {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// An onion service in front of a port of 127.0.0.1: the two lines for C Tor from the book.
pub(super) struct OnionFront {
    child: Child,
    pub(super) address: String,
}

impl OnionFront {
    pub(super) fn start(network: &PrivateTorNetwork, directory: &Path, port: u16) -> OnionFront {
        let service = directory.join("mirror");
        let lines = format!(
            "HiddenServiceDir {}\nHiddenServicePort 80 127.0.0.1:{port}\n",
            service.display()
        );
        let child = network.participant_command(directory, &lines).unwrap().spawn().unwrap();
        let (began, hostname) = (Instant::now(), service.join("hostname"));
        loop {
            match fs::read_to_string(&hostname) {
                Ok(address) if address.ends_with('\n') => {
                    return OnionFront { child, address: address.trim().to_owned() };
                }
                _ => {
                    let log = fs::read_to_string(directory.join("log"));
                    assert!(began.elapsed() < Duration::from_secs(20), "{log:?}");
                    std::thread::park_timeout(Duration::from_millis(20));
                }
            }
        }
    }
}

impl Drop for OnionFront {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn a_node_reads_its_mirrors_through_tor_and_connects_to_relays_only() {
    let mut world = TorTestWorld::prepare(1);
    let log = world.onion.fixture.directory.join("log");
    let nginx = NginxProcess::start(&log);
    let front = OnionFront::start(&world.network, &world.directory.path().join("tor"), nginx.plain);
    // The peer reads from the onion service, the client over TLS.
    let onion = format!("mirrors = [\"http://{}\"]", front.address);
    world.replace_config_line(PEER_NAMES[0], "mirrors = ", &onion);
    let root = nginx.directory.path().join("mirror.pem");
    let pinned = format!(
        "mirrors = [{{ url = \"https://127.0.0.1:{}\", root = \"{}\" }}]",
        nginx.tls,
        root.display()
    );
    world.replace_config_line("client", "mirrors = ", &pinned);
    let trace = world.directory.path().join("client.strace");
    let plain = world.client.wrapper.clone();
    leaks::trace_process(&mut world.client, &trace);
    world.start_daemons();
    world.client.wrapper = plain;
    let artifact: Vec<u8> = (0..3_000_000_u32).map(|n| (n ^ (n >> 7)) as u8).collect();
    world.publish(&ReleaseSpec::new(1, "1.0.0", &artifact));
    let result = world.update_until_settled();
    assert_eq!(result.exit_code, 0, "{}", result.report);
    assert_eq!(world.installed(), Some(1));
    let current = world.onion.fixture.install_root().join("current/hello");
    assert_eq!(fs::read(current).unwrap(), artifact);
    let id = world.client.id().unwrap();
    world.client.stop().unwrap();
    let socket = world.onion.fixture.client_state().join("serve/socket");
    leaks::assert_no_strays(&leaks::read_trace(&trace, id), &world.network.relays(), &socket);
    // Without the pinned root, the certificate does not verify.
    let unpinned = format!("mirrors = [\"https://127.0.0.1:{}\"]", nginx.tls);
    world.replace_config_line("client", "mirrors = ", &unpinned);
    let result = world.client.run(&["update"]).unwrap();
    let text = result.report.to_string();
    assert!(text.contains("TLS") && text.contains("UnknownIssuer"), "{text}");
}
