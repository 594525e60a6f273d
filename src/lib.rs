//! The program `unanimity`: its command line, a node at work, and the daemon.
//!
//! `unanimity` installs a release only if all of this holds:
//!
//! - Enough of the publisher's keys signed the release.
//! - The release is in a public audit log.
//! - *Every* trusted peer has seen the same log, now and at least `settle` earlier.
//!
//! The README lists the attacks that this stops. `ARCHITECTURE.md` is the map of the source.
//!
//! # Crates
//!
//! The first line of each crate's `lib.rs` says what belongs there. `.ci/layers` compares Cargo's
//! dependencies with a table of which crate may use which.
//!
//! | crate (`unanimity-` and) | contents |
//! |---|---|
//! | `protocol` | notes, tree, heads, rounds, releases, the decision; no I/O, clock or randomness |
//! | `storage` | durable writes, bounded reads, owners of paths, the clock |
//! | `archive` | the strict reader of tar archives |
//! | `report` | outcomes with exit codes and words, conditions, JSON, redaction |
//! | `config` | `unanimity.toml` and `peers.toml` as plain, checked data |
//! | `state` | what a node remembers; its own keys |
//! | `log` | the audit log as tiles: writing, exporting, reading |
//! | `net` | streams, messages between peers, mirrors, a file server |
//! | `tor` | connections and onion services; the only crate that names arti |
//! | `publish` | keys, statements and signatures of a publisher |
//! | `install` | confirmed release to installed version, and back; `unanimity-install` |
//! | `witness` | the peer role: follows the log, answers questions |
//! | `client` | one cycle: ask, read, decide, download, install |
//! | `testkit`, `testkit-tor` | fixtures, peers, attacks; in no packaged program |
//! | `unanimity` (this crate) | command line ([`cli`]), node ([`node`]), daemon |
//!
//! # Invariants
//!
//! `ARCHITECTURE.md` has this list, too. The two lists must agree.
//!
//! 1. A type that proves a check is made only by the function that makes the check. These types are
//!    `SignedRelease`, `LoggedRelease`, `ConfirmedRelease`, `TreeHead`, `CosignedHead`, `Evidence`,
//!    `ConsistentHeads` and `PeerSet` in `protocol`, and `VerifiedArtifact` and `PreparedVersion`
//!    in `install`. The examples of [`unanimity_protocol::pipeline`] show that code which skips a
//!    stage does not compile. There is one exception: signing a `CosignedHead` checks nothing, so
//!    `witness` makes the check before it signs.
//! 2. Silence is never consent. A [`unanimity_protocol::Round`] has one answer or failure for every
//!    configured peer. A [`unanimity_protocol::PeerSet`] is never empty.
//! 3. State is written only after the check that it records, and only through
//!    [`unanimity_storage`].
//! 4. A witness never fetches because it was asked. It adopts and cosigns only heads that its own
//!    mirrors served.
//! 5. There are three kinds of failure. A *refusal*: a check failed
//!    ([`unanimity_protocol::Refusal`], [`unanimity_client::MirrorProblem`],
//!    [`unanimity_install::InstallRefusal`], [`unanimity_state::LogForked`]). An *error*: the
//!    program could not find out. A *panic*: a bug of ours, exit code 101. No error and no deadline
//!    turns into a weaker check.
//! 6. Every read, list and wait has a bound.
//!
//! # The Update Framework, one to one
//!
//! How the client workflow of TUF (specification 1.0, section 5) and its threats (section 1.5.2)
//! are met. `ARCHITECTURE.md` has the same list.
//!
//! - **5.1, fix the update's start time.** Each check uses one time, which it gets as an argument.
//!   The clock must not be before the newest verified time
//!   ([`unanimity_client::ClientError::Clock`]).
//! - **5.2 and 5.3, root metadata and key rotation.** The configuration has the publisher's keys
//!   and the threshold. Rotation in the log does not exist yet.
//! - **5.4, timestamp: signature, rollback, freeze.** A [`unanimity_protocol::TreeHead`] has the
//!   log's verified signature. A mirror below the stored head is a rollback. A mirror below the
//!   peers' heads is stale ([`unanimity_client::MirrorProblem`]).
//! - **5.5, snapshot: consistency across files.** The log is one tree.
//!   [`unanimity_protocol::consistency`] proves that all heads are prefixes of one tree. The client
//!   reads every entry below its head.
//! - **5.6, targets: threshold, version, expiry.** [`unanimity_protocol::SignedRelease`] counts
//!   distinct raw keys, and checks that the sequence is above the floor and that the release has
//!   not expired. [`unanimity_protocol::Catalog`] refuses a withdrawn release.
//! - **5.7, fetch the target: length, digest.** [`unanimity_install::verify_artifact`] checks both
//!   on the file that is then used. `unanimity_archive` is equally strict with an archive's
//!   contents.
//! - **Arbitrary installation.** Needs the threshold of keys, an entry in the log, and the
//!   confirmation of every peer ([`unanimity_protocol::ConfirmedRelease`]).
//! - **Endless data, slow retrieval.** Every read has a bound ([`unanimity_net::Mirror::read`],
//!   [`unanimity_net::message`]). Every question has a deadline.
//! - **Extraneous dependencies, wrong software.** The signed manifest and the configuration both
//!   name product, channel and platform.
//! - **Fast-forward.** The sequence has 63 bits, and the log is public. A jump is visible to every
//!   monitor. Recovery needs a new channel.
//! - **Indefinite freeze.** Every cycle asks the peers. A frozen mirror shows less than the peers'
//!   heads.
//! - **Malicious mirrors.** A node reads many mirrors, trusts none, and names the failure of each.
//! - **Mix and match.** One manifest names all artifacts of a release. One tree holds all
//!   manifests.
//! - **Rollback.** The sequence floor, the stored head, and each peer's largest head.
//! - **Key compromise.** What the publisher's keys sign must be public, and the publisher can
//!   withdraw it ([`unanimity_protocol::withdrawal`]). What the log's key signs must be the same
//!   for every peer.

pub mod advice;
pub mod cli;
#[cfg(feature = "tor")]
pub mod daemon;
pub mod node;
