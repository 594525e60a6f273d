//! The program `unanimity`: its command line and what each command prints, a node at work, the daemon.
//!
//! `unanimity` installs a release only when its signatures verify, the release is in a public
//! audit log, and *every* trusted peer has seen the same log, now and for a while before. The
//! README says what that defends against and what not; this page is the map of the source.
//!
//! # Crates
//!
//! `.ci/layers` has the table of which crate may use which, and compares Cargo's dependencies with it. Each
//! crate's first line says what belongs there.
//!
//! | crate (`unanimity-` and) | what is in it |
//! |---|---|
//! | `protocol` | notes, tree, heads, rounds, releases, the decision: bytes and a time go in, a checked type or a refusal comes out |
//! | `storage` | durable writes, bounded reads, whose a path is, the clock |
//! | `archive` | the one strict reader of tar archives |
//! | `report` | what the programs say: outcomes with exit codes and words, conditions, JSON, redaction |
//! | `config` | the configuration and `peers.toml`, as plain checked data |
//! | `state` | what a node remembers, its own keys |
//! | `log` | the audit log as tiles: writing, exporting, reading from any source |
//! | `net` | byte streams, messages of peers, mirrors, a file server |
//! | `tor` | connections and onion services; the only crate that names arti |
//! | `publish` | keys, statements and signatures of a publisher |
//! | `install` | a confirmed release becomes an installed version, and back; the program `unanimity-install`, which links no network code |
//! | `witness` | the peer role: follows the log, answers |
//! | `client` | one cycle: ask, read, decide, download, install |
//! | `testkit`, `testkit-tor` | fixtures, a group of peers in one process or over a private Tor network, attacks: no part of a packaged program |
//! | this one | the programs' command line, a node at work ([`node`]), the daemon |
//!
//! # Invariants
//!
//! 1. A type that proves a check is made only by the function that makes the check: `SignedRelease`,
//!    `LoggedRelease`, `ConfirmedRelease` ([`unanimity_protocol::pipeline`] shows that skipping one does not compile), `TreeHead`,
//!    `CosignedHead`, `EvidenceHolders`, `ConsistentHeads`, `PeerSet`, `VerifiedArtifact`, `PreparedVersion`.
//! 2. Silence is never consent: a [`unanimity_protocol::Round`] has one answer for every configured peer, and
//!    a [`unanimity_protocol::PeerSet`] is never empty.
//! 3. State is written only after the check that it records, through [`unanimity_storage`] alone.
//! 4. A peer never fetches because it was asked, and never adopts or cosigns a head it heard
//!    from anybody but its own mirrors.
//! 5. Three kinds of failure. A refusal: a check failed ([`unanimity_protocol::Refusal`],
//!    [`unanimity_client::MirrorProblem`], [`unanimity_install::InstallRefusal`], [`unanimity_state::LogForked`]).
//!    An error: the program could not find out. A panic: our bug. No error or deadline turns into a weaker check.
//! 6. Every read, list and wait has a bound.
//!
//! # The Update Framework, one to one
//!
//! How the client workflow of TUF (specification 1.0, section 5) and its threats (section 1.5.2) are met:
//!
//! | TUF | here |
//! |---|---|
//! | 5.1 fix the update's start time | one time for each check, given as an argument; the clock may not stand before the newest time verified ([`unanimity_client::ClientError::Clock`]) |
//! | 5.2, 5.3 root metadata, key rotation | the configuration's keys and threshold; rotation in the log is not there yet |
//! | 5.4 timestamp: signature, rollback, freeze | [`unanimity_protocol::TreeHead`]: the log's signature; [`unanimity_client`]: a size below the trusted one is a rollback, below the peers' is stale |
//! | 5.5 snapshot: consistency across files | the tree: [`unanimity_protocol::consistency`] proves all heads prefixes of one, every entry below it is read |
//! | 5.6 targets: threshold, version, expiry | [`unanimity_protocol::SignedRelease`]: distinct raw keys, sequence above the floor, expiry; [`unanimity_protocol::Catalog`]: not taken back |
//! | 5.7 fetch the target: length, digest | [`unanimity_install::verify_artifact`], on the file that is then used; `unanimity_archive` is as strict with what is in it |
//! | arbitrary installation | threshold, log, and every peer ([`unanimity_protocol::ConfirmedRelease`]) |
//! | endless data, slow retrieval | every read is bounded ([`unanimity_net::Mirror::read`], [`unanimity_net::message`]); every ask has a deadline |
//! | extraneous dependencies, wrong software | product, channel and platform are in the signed manifest and in the configuration |
//! | fast-forward | the sequence is 63 bits and the log is public: a jump is visible to every monitor; recovery needs a new channel |
//! | indefinite freeze | the roll is called at every cycle: a frozen mirror shows against the peers' heads |
//! | malicious mirrors | many mirrors, none trusted, each one's failure named |
//! | mix and match | one manifest names all of a release's artifacts, one tree all manifests |
//! | rollback | the sequence floor, the stored head, the peers' largest views |
//! | key compromise | what the publisher's keys sign must be public, and can be taken back ([`unanimity_protocol::withdrawal`]); what the log's key signs must be the same for every peer |

pub mod advice;
pub mod cli;
#[cfg(feature = "tor")]
pub mod daemon;
pub mod node;
