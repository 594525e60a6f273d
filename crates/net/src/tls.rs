//! TLS to a mirror (RFC 8446), inside Tor. TLS hides the requests from the exit relay.
//!
//! The client verifies all files by other means. So a false certificate costs privacy only.

use std::sync::Arc;
use std::{fmt, io};

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use unanimity_config::address::url::MirrorHost;

use crate::stream::ByteStream;

/// The settings of TLS: the roots that a mirror's certificate is checked with.
pub(crate) struct Tls(Arc<ClientConfig>);

/// Why a file has no usable root certificate.
#[derive(Debug, thiserror::Error)]
pub enum RootCertificateError {
    /// A certificate is not PEM, or is damaged.
    #[error("a certificate in it is not valid PEM: {0}")]
    Pem(rustls::pki_types::pem::Error),
    /// The file has no certificate.
    #[error("there is no certificate in it (BEGIN CERTIFICATE)")]
    Empty,
    /// A certificate cannot be a root.
    #[error("a certificate in it cannot be a root: {0}")]
    Root(rustls::Error),
}

impl Tls {
    /// Makes settings that accept a certificate from any authority on Mozilla's list.
    pub(crate) fn with_public_roots() -> Tls {
        Tls::with_roots(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect())
    }

    /// Makes settings that accept only certificates that these roots, in PEM, have signed. A
    /// mirror's own certificate may be its root.
    pub(crate) fn from_pem(pem: &[u8]) -> Result<Tls, RootCertificateError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots
                .add(certificate.map_err(RootCertificateError::Pem)?)
                .map_err(RootCertificateError::Root)?;
        }
        if roots.is_empty() { Err(RootCertificateError::Empty) } else { Ok(Tls::with_roots(roots)) }
    }

    fn with_roots(roots: RootCertStore) -> Tls {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.expect("ring has what these versions need");
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        // A session ticket would link two visits to one node.
        config.resumption = Resumption::disabled();
        Tls(Arc::new(config))
    }

    pub(crate) async fn connect(
        &self,
        host: &MirrorHost,
        stream: Box<dyn ByteStream>,
    ) -> io::Result<Box<dyn ByteStream>> {
        let name = host.to_string();
        let name = name.trim_start_matches('[').trim_end_matches([']', '.']).to_owned();
        let name = ServerName::try_from(name).map_err(io::Error::other)?;
        let stream = TlsConnector::from(self.0.clone()).connect(name, stream).await;
        let stream =
            stream.map_err(|error| io::Error::new(error.kind(), format!("TLS: {error}")))?;
        Ok(Box::new(stream))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(..)")
    }
}
