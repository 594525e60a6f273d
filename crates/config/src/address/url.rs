//! What an operator writes where a mirror is meant: `https://HOST/PREFIX`, or `http://` to an onion
//! service, which is as good, since an onion address is a key.

use std::fmt;
use std::str::FromStr;

use http::Uri;

/// Where onion services serve files: the port of `http://` without one.
pub const WEB_PORT: u16 = 80;
use crate::OnionAddress;

/// A host of static files, and where they begin on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorUrl {
    /// Who.
    pub host: MirrorHost,
    /// 1 to 65535.
    pub port: u16,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// What comes before a file's path: empty, or from a slash to before one.
    pub(crate) prefix: String,
}

/// Who has the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MirrorHost {
    /// An onion service, by its identity key.
    Onion([u8; 32]),
    /// A name or an address of the Internet, which the Tor exit looks up and nobody before it.
    Named(String),
}

/// The text does not name a mirror.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no mirror: {why}")]
pub struct MirrorUrlError {
    text: String,
    why: String,
}

/// What a mirror can be.
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
                "it would say a name or a password to somebody who needs none".into(),
            ));
        }
        if text.contains(['?', '#']) {
            return Err(wrong(
                "what follows ? or # has no place in the name of a directory".into(),
            ));
        }
        let (host, port) = (authority.host().to_ascii_lowercase(), authority.port());
        let port = match port.map(|port| port.as_u16()) {
            // Written, and no number, or none that a port can have.
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
            let why = "http:// is for onion services only, whose address is a key; write https://";
            return Err(wrong(why.to_owned()));
        } else if is_name(&host) {
            MirrorHost::Named(host)
        } else {
            return Err(wrong(format!("{host:?} is no name of a host")));
        };
        let prefix = uri.path().trim_end_matches('/').to_owned();
        if prefix.split('/').any(|part| matches!(part, "." | "..")) {
            return Err(wrong(
                "a path with . or .. in it says something else to every host".into(),
            ));
        }
        Ok(MirrorUrl { host, port, tls, prefix })
    }
}

/// A domain name or an address of the Internet. Names with other letters are written as the DNS
/// has them (`xn--`).
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
    /// What comes before a file's path: empty, or from a slash to before one.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// All that an onion service serves at its usual port.
    pub fn from_onion_key(key: [u8; 32]) -> MirrorUrl {
        MirrorUrl {
            host: MirrorHost::Onion(key),
            port: WEB_PORT,
            tls: false,
            prefix: String::new(),
        }
    }

    /// The host as URLs and requests have it, with its port unless it goes without saying.
    pub fn authority(&self) -> String {
        let usual = if self.tls { 443 } else { WEB_PORT };
        if self.port == usual {
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
