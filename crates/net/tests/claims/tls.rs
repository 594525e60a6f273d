//! TLS to a mirror: accepted and refused certificates.

use std::io;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio_rustls::TlsAcceptor;
use unanimity_config::{MirrorSpec, MirrorUrl};
use unanimity_net::{ByteStream, Mirror, WebConnector};

/// A TLS host with one certificate and one file.
#[derive(Clone)]
struct TlsHost(Arc<rustls::ServerConfig>);

impl WebConnector for TlsHost {
    fn connect<'a>(&'a self, _: &'a MirrorUrl) -> BoxFuture<'a, io::Result<Box<dyn ByteStream>>> {
        let acceptor = TlsAcceptor::from(self.0.clone());
        Box::pin(async move {
            let (ours, theirs) = duplex(64 * 1024);
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(theirs).await else { return };
                let mut head = [0; 4096];
                if stream.read(&mut head).await.is_ok_and(|count| count > 0) {
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere";
                    stream.write_all(answer).await.ok();
                }
            });
            Ok(Box::new(ours) as Box<dyn ByteStream>)
        })
    }

    fn isolated(&self) -> Arc<dyn WebConnector> {
        Arc::new(self.clone())
    }
}

fn host(certificate: &rcgen::Certificate, key: &KeyPair) -> TlsHost {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        );
    TlsHost(Arc::new(config.unwrap()))
}

fn pinned(site: MirrorUrl, pem: &str) -> MirrorSpec {
    MirrorSpec::Pinned { url: site, root: "/srv/root.pem".into(), pem: pem.into() }
}

async fn read(host: &TlsHost, url: &str, root: Option<&str>) -> Result<Vec<u8>, String> {
    let site: MirrorUrl = url.parse().unwrap();
    let spec = match root {
        Some(pem) => pinned(site, pem),
        None => MirrorSpec::Url(site),
    };
    let web: Arc<dyn WebConnector> = Arc::new(host.clone());
    let mirror = Mirror::from_spec(&spec, Some(&web)).map_err(|error| error.to_string())?;
    mirror.read("file", 100).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn pinned_root_accepts_only_its_certificates_for_their_names() {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(params.clone(), KeyPair::generate().unwrap()).unwrap();
    let other = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = ["mirror.example".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &root).unwrap();
    let host = host(&certificate, &key);
    for url in ["https://mirror.example/a", "https://127.0.0.1:8443", "https://Mirror.Example."] {
        assert_eq!(read(&host, url, Some(&root.pem())).await.unwrap(), b"here", "{url}");
    }
    let both = format!("{}{}", other.pem(), root.pem());
    assert_eq!(read(&host, "https://mirror.example", Some(&both)).await.unwrap(), b"here");
    let mut messages = String::new();
    for (case, url, root) in [
        ("another name", "https://other.example", Some(root.pem())),
        ("another address", "https://127.0.0.2", Some(root.pem())),
        ("another root", "https://mirror.example", Some(other.pem())),
        ("public roots", "https://mirror.example", None),
    ] {
        let error = read(&host, url, root.as_deref()).await.unwrap_err();
        messages += &format!("{case}: {error}\n");
    }
    snapbox::assert_data_eq!(messages, snapbox::file!["words/refused_certificates.txt"]);
}

#[tokio::test]
async fn self_signed_certificate_can_be_its_own_root() {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["mirror.example".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let host = host(&certificate, &key);
    let root = certificate.pem();
    assert_eq!(read(&host, "https://mirror.example", Some(&root)).await.unwrap(), b"here");
    read(&host, "https://other.example", Some(&root)).await.unwrap_err();
    read(&host, "https://mirror.example", None).await.unwrap_err();
}

#[tokio::test]
async fn expired_certificate_is_refused() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["mirror.example".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let certificate = params.self_signed(&key).unwrap();
    let host = host(&certificate, &key);
    let error = read(&host, "https://mirror.example", Some(&certificate.pem())).await.unwrap_err();
    // The message has the time of the test.
    let (message, _) = error.split_once(": verification time").unwrap_or((&error, ""));
    snapbox::assert_data_eq!(message, snapbox::file!["words/expired_certificate.txt"]);
}

#[test]
fn invalid_root_certificate_is_refused() {
    let site = || -> MirrorUrl { "https://mirror.example".parse().unwrap() };
    let mut messages = String::new();
    for (case, pem) in [
        ("empty", ""),
        ("not PEM", "not PEM"),
        ("no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ("no end", "-----BEGIN CERTIFICATE-----\nAAAA"),
        ("not base64", "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n"),
    ] {
        let error = Mirror::from_spec(&pinned(site(), pem), None).expect_err(pem);
        messages += &format!("{case}: {error}\n");
    }
    snapbox::assert_data_eq!(messages, snapbox::file!["words/invalid_root_certificates.txt"]);
}
