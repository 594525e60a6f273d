//! TLS (RFC 8446) to a mirror, inside Tor: it keeps what is asked from the exit relay. What is read
//! is verified by other means, so a certificate authority that errs costs privacy and nothing else.

use std::sync::Arc;
use std::{fmt, io};

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use unanimity_config::address::url::MirrorHost;

use crate::stream::ByteStream;

/// How a mirror's certificate is checked.
pub(crate) struct Tls(Arc<ClientConfig>);

/// A file that holds no certificate.
#[derive(Debug, thiserror::Error)]
pub enum RootCertificateError {
    /// Not PEM, or damaged.
    #[error("it is no certificate in PEM: {0}")]
    Pem(rustls::pki_types::pem::Error),
    /// Nothing in it.
    #[error("there is no certificate in it (BEGIN CERTIFICATE)")]
    Empty,
    /// A certificate that cannot be anybody's root.
    #[error("a certificate in it cannot be a root: {0}")]
    Root(rustls::Error),
}

impl Tls {
    /// As browsers do it: any name that an authority of Mozilla's list has certified.
    pub(crate) fn with_public_roots() -> Tls {
        Tls::with_roots(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect())
    }

    /// Only what these certificates, in PEM, have signed; a mirror's own may be its root.
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
        // A ticket would tell the mirror that two visits were one node's.
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
