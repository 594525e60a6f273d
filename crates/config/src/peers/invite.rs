//! Invites: the line that two operators exchange to make their nodes each other's peers.
//!
//! ```text
//! unanimity-invite/v1,NAME,ORIGIN,LOG,ADDRESS,KEY,CLIENT-AUTH,ARTIFACTS,SIZE,ROOT,CHECK
//! ```
//!
//! An invite is one line of eleven fields, without white space and without characters that a shell
//! interprets. LOG is the log's id in hex, CLIENT-AUTH is `descriptor:x25519:...`, ARTIFACTS is
//! `http://...onion` or `-`, and ROOT is base64. CHECK is the first 4 bytes, in hex, of SHA-256
//! over everything before the last comma. In ORIGIN and KEY, every byte but
//! `A-Z a-z 0-9 . _ + ~ / : @ = -` is written `%XX`.
//!
//! An invite is neither secret nor signed. An attacker that replaces an invite on its way becomes
//! the peer. So an invite travels over a trusted channel, or both operators compare its
//! [`Fingerprint`] by voice.

use std::fmt::Write as _;
use std::fmt::{self};
use std::str::FromStr;

use data_encoding::HEXUPPER;
use unanimity_protocol::checkpoint::LogId;
use unanimity_protocol::key::KeyError;
use unanimity_protocol::{CosignatureVerifyingKey, Hash, Log, Name, Origin, Peer};

use crate::peers::head_claim::HeadClaim;
use crate::{ClientAuthKey, Fingerprint, Membership, MirrorUrl, OnionAddress, PeerEntry};

/// A node's name, addresses, public keys and verified head, for other nodes that follow the same
/// log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// The name that the sender gives itself.
    pub name: Name,
    /// The origin of the sender's log, for people. The field `log` identifies the log.
    pub origin: Origin,
    /// The id of the sender's log, computed from its origin and key.
    pub log: LogId,
    /// The onion service at which other nodes ask the sender.
    pub address: OnionAddress,
    /// The key that verifies the sender's cosigned heads.
    pub key: CosignatureVerifyingKey,
    /// The key by which the sender finds the onion services of its peers.
    pub client_auth: ClientAuthKey,
    /// The URL at which the sender serves artifacts to anyone. `None`: it serves no artifacts.
    pub artifacts: Option<MirrorUrl>,
    /// The number of log entries that the sender has verified, below 2^63.
    pub size: u64,
    /// The root of the log at that size.
    pub root: Hash,
}

/// Why a text is not an invite, or is an invite for another log than this node's. The error never
/// contains the whole text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InviteError {
    /// The text does not begin like an invite.
    #[error("not an invite: an invite is one line that begins with {INVITE_PREFIX}v1")]
    NotAnInvite,
    /// The invite is of another version of the format.
    #[error(
        "this program reads only invites that begin with {INVITE_PREFIX}v1. Run the same version on both sides"
    )]
    Version,
    /// The text has more than [`MAX_INVITE_BYTES`] bytes.
    #[error("longer than any invite ({MAX_INVITE_BYTES} bytes). Paste one invite and nothing else")]
    TooLong,
    /// The checksum does not match: a character is wrong or missing.
    #[error(
        "the invite was mistyped or cut short: its checksum does not match. Copy the whole line again"
    )]
    Checksum,
    /// A field is not valid, although the checksum matches: the sender made a wrong invite.
    #[error("the invite's {0} is not valid, although its checksum matches. Ask for a new invite")]
    Field(&'static str),
    /// The key is not valid, or is not the key of a witness.
    #[error("the invite's key: {0}. Ask for a new invite")]
    Key(#[from] KeyError),
    /// The invite is for another log. Peers follow one log.
    #[error(
        "the invite is for the log {theirs} ({their_id}), and this node follows {ours} ({our_id}). Peers follow one log, with one origin and one key"
    )]
    OtherLog {
        /// The origin that the invite names.
        theirs: Origin,
        /// The first 16 digits of the log id in the invite.
        their_id: String,
        /// The origin of this node's log.
        ours: Origin,
        /// The first 16 digits of the id of this node's log.
        our_id: String,
    },
}

impl Invite {
    /// Makes a joining peer from an invite. Refuses an invite for another log than `log`.
    ///
    /// The entry's operator is a copy of the peer's name, because an invite names no operator. The
    /// operator of this node may correct both.
    pub fn to_peer_entry(&self, log: &Log) -> Result<PeerEntry, InviteError> {
        if self.log != log.id() || self.origin != log.origin {
            let short = |id: LogId| Hash(id.0).hex()[..16].to_owned();
            return Err(InviteError::OtherLog {
                theirs: self.origin.clone(),
                their_id: short(self.log),
                ours: log.origin.clone(),
                our_id: short(log.id()),
            });
        }
        let Invite { name, key, address, client_auth, artifacts, size, root, .. } = self.clone();
        Ok(PeerEntry {
            peer: Peer { operator: name.clone(), name, key },
            address,
            client_auth: Some(client_auth),
            artifacts,
            membership: Membership::Joining { size, root },
        })
    }

    /// The fingerprint that two operators compare by voice, equal for every invite of one peer.
    pub fn fingerprint(&self) -> Fingerprint {
        let artifacts = self.artifacts.as_ref();
        Fingerprint::compute(self.log, &self.address, &self.key, &self.client_auth, artifacts)
    }
}

impl FromStr for Invite {
    type Err = InviteError;

    /// Parses an invite. White space around it is ignored.
    fn from_str(text: &str) -> Result<Self, InviteError> {
        let text = text.trim();
        let version = text.strip_prefix(INVITE_PREFIX).ok_or(InviteError::NotAnInvite)?;
        if text.len() > MAX_INVITE_BYTES {
            return Err(InviteError::TooLong);
        }
        let fields = version.strip_prefix("v1,").ok_or(InviteError::Version)?;
        let (body, check) = text.rsplit_once(',').ok_or(InviteError::Checksum)?;
        if checksum(body) != check {
            return Err(InviteError::Checksum);
        }
        let fields: Vec<&str> = fields.split(',').collect();
        let &[name, origin, log, address, key, client_auth, artifacts, size, root, _] = &fields[..]
        else {
            return Err(InviteError::Field("number of fields"));
        };
        let bad = InviteError::Field;
        let origin = unescape(origin).and_then(|origin| origin.parse().ok());
        let claim = HeadClaim::from_fields(size, root).ok_or(bad("size or root"))?;
        let invite = Invite {
            name: name.parse().map_err(|_| bad("name"))?,
            origin: origin.ok_or(bad("log origin"))?,
            log: LogId(Hash::from_hex(log).ok_or(bad("log id"))?.0),
            address: address.parse().map_err(|_| bad("address"))?,
            key: unescape(key).ok_or(KeyError::Shape)?.parse()?,
            client_auth: client_auth.parse().map_err(|_| bad("client_auth key"))?,
            artifacts: match artifacts {
                "-" => None,
                url => Some(url.parse().map_err(|_| bad("address of artifacts"))?),
            },
            size: claim.size,
            root: claim.root,
        };
        // The parsers of addresses and keys accept several spellings, and an invite has only one.
        if invite.to_string() == text { Ok(invite) } else { Err(bad("spelling")) }
    }
}

impl fmt::Display for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Invite { name, origin, log, address, key, client_auth, artifacts, size, root } = self;
        let (origin, key) = (escape(origin.as_str()), escape(&key.to_string()));
        let (log, root) = (Hash(log.0), root.base64());
        let artifacts = artifacts.as_ref().map_or_else(|| "-".to_owned(), MirrorUrl::to_string);
        let body = format!(
            "{INVITE_PREFIX}v1,{name},{origin},{log},{address},{key},{client_auth},{artifacts},{size},{root}"
        );
        write!(f, "{body},{}", checksum(&body))
    }
}

/// The first eight hex digits of SHA-256. A mistyped invite passes with a probability of 2^-32.
fn checksum(body: &str) -> String {
    Hash::digest(body.as_bytes()).hex()[..8].to_owned()
}

fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"._+~/:@=-".contains(&byte) {
            escaped.push(byte.into());
        } else {
            write!(escaped, "%{byte:02X}").expect("a string takes everything");
        }
    }
    escaped
}

fn unescape(text: &str) -> Option<String> {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        bytes.extend(HEXUPPER.decode(digits.as_bytes()).ok()?);
        bytes.extend(rest.bytes());
    }
    String::from_utf8(bytes).ok()
}

/// The beginning of every invite. No note of the project begins like this: they begin `unanimity/`.
const INVITE_PREFIX: &str = "unanimity-invite/";

/// The most bytes of an invite. The longest has 2,019 bytes, with every byte of origin and key name
/// escaped. A usual invite has 400.
pub const MAX_INVITE_BYTES: usize = 2048;
