//! URLs of mirrors: `https://HOST/PREFIX`, or `http://` to an onion service. Both forms
//! authenticate the host: TLS by a certificate, and an onion service by its address, which is a
//! key.

use std::fmt;
use std::str::FromStr;

use http::Uri;

use crate::OnionAddress;

/// The port at which onion services serve files, and the default port of an `http://` URL.
pub const WEB_PORT: u16 = 80;

/// The URL of a mirror: a host of static files, and the path of the directory with the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorUrl {
    /// The host of the mirror.
    pub host: MirrorHost,
    /// The port, 1 to 65535.
    pub port: u16,
    /// Whether the host is reached with TLS.
    pub tls: bool,
    /// The path of the mirror's directory, which precedes `/FILE` in URLs. It is empty, or begins
    /// with `/` and does not end with `/`.
    pub(crate) prefix: String,
}

/// The host of a mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MirrorHost {
    /// An onion service, by its identity key.
    Onion([u8; 32]),
    /// A domain name or an Internet address. Only the Tor exit relay looks the name up.
    Named(String),
}

/// The text is not the URL of a mirror.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a mirror: {why}")]
pub struct MirrorUrlError {
    text: String,
    why: String,
}

/// The accepted forms of a mirror in the configuration, for error messages.
pub(crate) const EXPECTED_FORMS: &str =
    "write https://HOST/PREFIX, http://ADDRESS.onion/PREFIX, or file:/absolute/directory";

impl FromStr for MirrorUrl {
    type Err = MirrorUrlError;

    fn from_str(text: &str) -> Result<MirrorUrl, MirrorUrlError> {
        let wrong = |why: String| MirrorUrlError { text: text.chars().take(200).collect(), why };
        let uri: Uri = text.parse().map_err(|_| wrong(EXPECTED_FORMS.to_owned()))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong(EXPECTED_FORMS.to_owned())),
        };
        let authority = uri.authority().ok_or_else(|| wrong(EXPECTED_FORMS.to_owned()))?;
        if authority.as_str().contains('@') {
            return Err(wrong(
                "it has a user name or a password. Remove it: a mirror needs none".into(),
            ));
        }
        if text.contains(['?', '#']) {
            return Err(wrong(
                "it has a query (?) or a fragment (#). Remove it: a mirror is a directory".into(),
            ));
        }
        let (host, port) = (authority.host().to_ascii_lowercase(), authority.port());
        let port = match port.map(|port| port.as_u16()) {
            // The authority has a colon without a valid port number behind it.
            None if authority.as_str().len() > authority.host().len() => None,
            Some(0) => None,
            None => Some(if tls { 443 } else { WEB_PORT }),
            port => port,
        };
        let port = port.ok_or_else(|| wrong("a port is a number from 1 to 65535".into()))?;
        let host = if host.ends_with(".onion") || host.ends_with(".onion.") {
            let address: OnionAddress = host.parse().map_err(|error| wrong(format!("{error}")))?;
            MirrorHost::Onion(address.key)
        } else if !tls {
            let why = "http:// is for onion services only, whose address is a key. Write https://";
            return Err(wrong(why.to_owned()));
        } else if is_name(&host) {
            MirrorHost::Named(host)
        } else {
            return Err(wrong(format!("{host:?} is not the name of a host")));
        };
        let prefix = uri.path().trim_end_matches('/').to_owned();
        if prefix.split('/').any(|part| matches!(part, "." | "..")) {
            return Err(wrong(
                "its path has . or .. in it, which hosts read differently. Remove it".into(),
            ));
        }
        Ok(MirrorUrl { host, port, tls, prefix })
    }
}

/// Whether the text is a domain name or an Internet address. A name with letters outside ASCII
/// needs its DNS form (`xn--`).
fn is_name(host: &str) -> bool {
    let is_address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if let Some(address) = is_address {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let allowed = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(allowed);
    host.len() <= 253 && host.strip_suffix('.').unwrap_or(host).split('.').all(is_label)
}

impl MirrorUrl {
    /// The path of the mirror's directory, which precedes `/FILE` in URLs. It is empty, or begins
    /// with `/` and does not end with `/`.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Makes the URL of the root directory of an onion service, at [`WEB_PORT`].
    pub fn from_onion_key(key: [u8; 32]) -> MirrorUrl {
        MirrorUrl {
            host: MirrorHost::Onion(key),
            port: WEB_PORT,
            tls: false,
            prefix: String::new(),
        }
    }

    /// The host as in URLs and requests. The port follows if it is not the scheme's default port.
    pub fn authority(&self) -> String {
        let default_port = if self.tls { 443 } else { WEB_PORT };
        if self.port == default_port {
            return self.host.to_string();
        }
        format!("{}:{}", self.host, self.port)
    }
}

impl fmt::Display for MirrorHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MirrorHost::Onion(key) => {
                f.write_str(&OnionAddress { key: *key, port: WEB_PORT }.host())
            }
            MirrorHost::Named(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for MirrorUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.prefix)
    }
}
