//! Tickets: what one person passes to another so that they become each other's peers.
//!
//! ```text
//! unanimity-ticket/v1,NAME,ORIGIN,LOG,ADDRESS,KEY,DISCOVERY,ARTIFACTS,SIZE,ROOT,CHECK
//! ```
//!
//! One line of eleven fields without white space or anything that a shell takes for its own. LOG is
//! the log's id in hex, DISCOVERY is `descriptor:x25519:...`, ARTIFACTS is `http://...onion` or `-`, ROOT is base64, CHECK is the first 4
//! bytes, in hex, of SHA-256 over everything before the last comma. An origin and a key's name may have
//! other characters; in them every byte but `A-Z a-z 0-9 . _ + ~ / : @ = -` is written `%XX`.
//!
//! A ticket is not secret and not signed. Whoever can change it on its way becomes the peer, so
//! it travels over something trusted, or its [`Fingerprint`] is compared by voice.

use std::fmt::Write as _;
use std::fmt::{self};
use std::str::FromStr;

use data_encoding::HEXUPPER;
use unanimity_protocol::checkpoint::LogId;
use unanimity_protocol::key::KeyError;
use unanimity_protocol::{CosignatureVerifyingKey, Hash, Log, Name, Origin, Peer};

use crate::peers::head_claim::HeadClaim;
use crate::{ClientAuthKey, Fingerprint, Membership, MirrorUrl, OnionAddress, PeerEntry};

/// Who somebody is, for peers that follow the same log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// What they call themselves.
    pub name: Name,
    /// Their log's origin, for people; `log` decides.
    pub origin: Origin,
    /// Their log: origin and key.
    pub log: LogId,
    /// Where they are reached.
    pub address: OnionAddress,
    /// What their views are cosigned with.
    pub key: CosignatureVerifyingKey,
    /// By which they find their peers' services.
    pub client_auth: ClientAuthKey,
    /// Where they serve artifacts to anyone, if they do.
    pub artifacts: Option<MirrorUrl>,
    /// How many leaves of the log they had verified, below 2^63.
    pub size: u64,
    /// The root that goes with them.
    pub root: Hash,
}

/// Why a text is no ticket, or one of no use here. Never contains the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InviteError {
    /// Something else.
    #[error("not a ticket: one is a single line that begins with {INVITE_PREFIX}v1")]
    NotAnInvite,
    /// Made by another version of this program.
    #[error(
        "a ticket of a form that this version does not read ({INVITE_PREFIX}v1): run the same version on both sides"
    )]
    Version,
    /// Longer than any ticket.
    #[error("longer than any ticket ({MAX_INVITE_BYTES} bytes): paste one ticket, and only that")]
    TooLong,
    /// Some character is wrong or missing.
    #[error(
        "the ticket was mistyped or cut short: its checksum does not fit; copy the whole line again"
    )]
    Checksum,
    /// The checksum fits, so it was made like this.
    #[error("the ticket's {0} makes no sense, though nothing was mistyped: ask for a new one")]
    Field(&'static str),
    /// The key is none, or none of a peer's.
    #[error("the ticket's key: {0}; ask for a new one")]
    Key(#[from] KeyError),
    /// Peers watch one log.
    #[error(
        "the ticket is for the log {theirs} ({their_id}), and this node follows {ours} ({our_id}): peers follow one log, of one origin and one key"
    )]
    OtherLog {
        /// The origin that the ticket names.
        theirs: Origin,
        /// The beginning of its log's id.
        their_id: String,
        /// The origin that we follow.
        ours: Origin,
        /// The beginning of our log's id.
        our_id: String,
    },
}

impl Invite {
    /// The peer that a ticket is about, if it is one for our log. It is joining; its operator is
    /// taken to be who it is named for, which is ours to correct, like the name.
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
        let Invite { name, key, address, client_auth: discovery, artifacts, size, root, .. } =
            self.clone();
        Ok(PeerEntry {
            peer: Peer { operator: name.clone(), name, key },
            address,
            client_auth: Some(discovery),
            artifacts,
            membership: Membership::Joining { size, root },
        })
    }

    /// What two people compare by voice: the same for every ticket of one peer.
    pub fn fingerprint(&self) -> Fingerprint {
        let artifacts = self.artifacts.as_ref();
        Fingerprint::compute(self.log, &self.address, &self.key, &self.client_auth, artifacts)
    }
}

impl FromStr for Invite {
    type Err = InviteError;

    /// White space around it is of the paste, not of the ticket.
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
        let &[name, origin, log, address, key, discovery, artifacts, size, root, _] = &fields[..]
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
            client_auth: discovery.parse().map_err(|_| bad("discovery key"))?,
            artifacts: match artifacts {
                "-" => None,
                site => Some(site.parse().map_err(|_| bad("address of artifacts"))?),
            },
            size: claim.size,
            root: claim.root,
        };
        // An address and a discovery key can be spelled in several ways; a ticket cannot.
        if invite.to_string() == text { Ok(invite) } else { Err(bad("spelling")) }
    }
}

impl fmt::Display for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Invite {
            name,
            origin,
            log,
            address,
            key,
            client_auth: discovery,
            artifacts,
            size,
            root,
        } = self;
        let (origin, key) = (escape(origin.as_str()), escape(&key.to_string()));
        let (log, root) = (Hash(log.0), root.base64());
        let artifacts = artifacts.as_ref().map_or_else(|| "-".to_owned(), MirrorUrl::to_string);
        let body = format!(
            "{INVITE_PREFIX}v1,{name},{origin},{log},{address},{key},{discovery},{artifacts},{size},{root}"
        );
        write!(f, "{body},{}", checksum(&body))
    }
}

/// Eight digits: of the tickets that are not what was sent, one in four thousand million passes.
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

/// No note begins like this: those of ours begin `unanimity/`.
const INVITE_PREFIX: &str = "unanimity-ticket/";

/// Enough for the longest origin and the longest name of a key with every byte escaped, 2,019
/// bytes; a usual ticket has 400.
pub const MAX_INVITE_BYTES: usize = 2048;
