//! Keeps software up to date for people who may be singled out.
//!
//! `unanimity` installs a release only when its signatures verify, the release is in a public
//! audit log, and *every* trusted peer has seen the same log, now and for a while before. The
//! README says what that defends against and what not; this page is the map of the source.
//!
//! # Rooms
//!
//! | room | what is in it | may use |
//! |---|---|---|
//! | `unanimity_protocol` | what is true: bytes and a time in, a checked type or a refusal out. No clock, file, socket or randomness | nothing here |
//! | [`clock`], [`durable`], [`command`] | the time as an argument; every durable write; running what the operator named | `verify` |
//! | [`net`] | byte streams to peers (in memory, over Tor), the one codec, mirrors | `verify` |
//! | [`log`] | the audit log as tiles: writing one, publishing it, reading one | `net`, `durable` |
//! | [`store`] | what a node remembers: head, peers' largest views, evidence, mirrors that failed | `durable` |
//! | [`install`] | `Agreed -> Installed`, its trial, and back | `log`, `durable`, `command` |
//! | [`circle`] | who a node's peers are: `peers.toml`, tickets | `net`, `durable`, `config` for its errors |
//! | [`peer`], [`update`], [`installer`], [`publish`], [`config`] | the four roles, and what a node is told | all above |
//! | [`identity`], [`alarm`] | the node's own keys; when to tell its operator | `net`, `durable`, `update` |
//! | `node`, `serve` (with the feature `tor`) | a node at work: its peer role, its circle, its cycles; the daemon | all above |
//! | [`demo`] | a whole circle and the attacks on it, for people and for tests: in one process, and over a private Tor network | all above, [`cli::exit`] |
//! | [`cli`] | arguments, wiring, the words people read | everything |
//!
//! # Invariants
//!
//! 1. A type named for a fact is made only by the function that checks the fact: `Signed`,
//!    `Logged`, `Agreed` ([`verify::stage`] shows that skipping one does not compile), `Head`,
//!    `View`, `Evidence`, `Chain`, `PeerSet`, `Staged`, `Ready`.
//! 2. Silence is never consent: a [`verify::Roll`] has one answer for every configured peer, and
//!    a [`verify::PeerSet`] is never empty.
//! 3. State is written only after the check that it records, through [`durable`] alone.
//! 4. A peer never fetches because it was asked, and never adopts or cosigns a head it heard
//!    from anybody but its own mirrors.
//! 5. Three kinds of wrong: a [`verify::Refusal`] (the world failed a check), an error (we could
//!    not find out), a panic (our bug). No error or deadline turns into a weaker check.
//! 6. Every read, list and wait has a bound.
//!
//! # The Update Framework, one to one
//!
//! How the client workflow of TUF (specification 1.0, section 5) and its threats (section 1.5.2) are met:
//!
//! | TUF | here |
//! |---|---|
//! | 5.1 fix the update's start time | one time for each check, given as an argument; the clock may not stand before the newest time verified ([`update::UpdateError::Clock`]) |
//! | 5.2, 5.3 root metadata, key rotation | the configuration's keys and threshold; rotation in the log is not there yet |
//! | 5.4 timestamp: signature, rollback, freeze | [`verify::Head`]: the log's signature; [`update`]: a size below the trusted one is a rollback, below the peers' is stale |
//! | 5.5 snapshot: consistency across files | the tree: [`verify::join`] proves all heads prefixes of one, every entry below it is read |
//! | 5.6 targets: threshold, version, expiry | [`verify::Signed`]: distinct raw keys, sequence above the floor, expiry; [`verify::Catalog`]: not taken back |
//! | 5.7 fetch the target: length, digest | [`install::verify_artifact`], on the file that is then used; [`install::unpack`] is as strict with what is in it |
//! | arbitrary installation | threshold, log, and every peer ([`verify::Agreed`]) |
//! | endless data, slow retrieval | every read is bounded ([`net::Mirror::read`], [`net::wire`]); every ask has a deadline |
//! | extraneous dependencies, wrong software | product, channel and platform are in the signed manifest and in the configuration |
//! | fast-forward | the sequence is 63 bits and the log is public: a jump is visible to every monitor; recovery needs a new channel |
//! | indefinite freeze | the roll is called at every cycle: a frozen mirror shows against the peers' heads |
//! | malicious mirrors | many mirrors, none trusted, each one's failure named |
//! | mix and match | one manifest names all of a release's artifacts, one tree all manifests |
//! | rollback | the sequence floor, the stored head, the peers' largest views |
//! | key compromise | what the publisher's keys sign must be public, and can be taken back ([`verify::withdrawal`]); what the log's key signs must be the same for every peer |

pub mod cli;
#[cfg(feature = "tor")]
pub mod daemon;
pub mod node;
