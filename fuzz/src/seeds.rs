//! Seeds of the fuzz targets: small valid objects, equal in every run.

use std::collections::BTreeMap;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use unanimity_config::{
    ClientAuthKey, ClientAuthSecret, Invite, Membership, MirrorHost, MirrorUrl, OnionAddress,
    PeerEntry, PeerList, edit,
};
use unanimity_install::journal::{FailedRelease, Journal, Trial};
use unanimity_net::message::{Answer, Question};
use unanimity_protocol::decision::admission::RoundLimits;
use unanimity_protocol::manifest::{ArchiveFormat, Artifact, ArtifactKind};
use unanimity_protocol::proof_bundle::Proofs;
use unanimity_protocol::tree::Frontier;
use unanimity_protocol::{
    Catalog, Checkpoint, ConsistentHeads, CosignatureSigningKey, CosignedHead, Evidence, Hash,
    LogEntry, Manifest, Note, Peer, ProofBundle, Round, SignedRelease, Tile, Timestamp, TreeHead,
    Withdrawal,
};
use unanimity_state::{ClientState, ClientStore, Identity, MirrorFailures};
use unanimity_storage::Storage;

use crate::keys::{KEYS, NOW, PEER_NAMES};
use crate::{rfc6962, scratch};

/// One file of a target's corpus.
pub struct Seed {
    /// The target's name.
    pub target: &'static str,
    /// The file's name.
    pub name: String,
    /// The file's content: the target's input.
    pub bytes: Vec<u8>,
}

/// Returns the seeds of every target.
pub fn all() -> Vec<Seed> {
    let groups = [
        ("archive", archives()),
        ("bundle", bundles()),
        ("checkpoint", checkpoints()),
        ("config", configurations()),
        ("entries", entries()),
        ("evidence", evidence()),
        ("http", answers()),
        ("identity", identities()),
        ("invite", invites()),
        ("journal", journals()),
        ("message", messages()),
        ("note", notes()),
        ("peers", peers_files()),
        ("proof", numbers(4)),
        ("request", requests()),
        ("spool", spools()),
        ("state", states()),
        ("statement", statements()),
        ("tile", tiles()),
        ("value", values()),
    ];
    let seeds = groups.into_iter().flat_map(|(target, seeds)| {
        let seed = move |(name, bytes): (&str, Vec<u8>)| Seed { target, name: name.into(), bytes };
        seeds.into_iter().map(seed)
    });
    seeds.collect()
}

type Seeds = Vec<(&'static str, Vec<u8>)>;

// --- Objects ---

fn manifest(sequence: u64) -> Manifest {
    let name = |text: &str| text.parse().expect("a name");
    let target = |platform, file, kind| Artifact {
        platform: name(platform),
        file: name(file),
        length: 5,
        sha256: Hash::digest(b"hello"),
        kind,
    };
    let format = ArchiveFormat::TarZst;
    let archive = ArtifactKind::Archive { format, unpacked: 10, entries: 2 };
    Manifest {
        log: KEYS.log.origin.clone(),
        product: name("hello"),
        channel: name("stable"),
        sequence,
        version: name("1.1.0"),
        issued: Timestamp(NOW.0 - 10_000),
        expires: Timestamp(NOW.0 + 1_000_000),
        artifacts: vec![
            target("aarch64-linux", "hello.tar.zst", archive),
            target("x86_64-linux", "hello", ArtifactKind::File),
        ],
    }
}

fn withdrawal(sequence: u64) -> Withdrawal {
    Withdrawal {
        log: KEYS.log.origin.clone(),
        product: "hello".parse().expect("a name"),
        channel: "stable".parse().expect("a name"),
        sequence,
        issued: NOW,
        reason: "It deletes what it should keep.".to_owned(),
    }
}

fn signed(text: &str) -> Note {
    let mut note = Note::unsigned(text).expect("a text");
    KEYS.publishers[..2].iter().for_each(|secret| note.sign(secret));
    note
}

fn entry_texts() -> Vec<String> {
    let entries = [
        signed(&manifest(2).to_string()),
        signed(&withdrawal(1).to_string()),
        signed("unanimity/other/v1\n"),
    ];
    entries.iter().map(Note::to_string).collect()
}

fn leaves() -> Vec<Hash> {
    entry_texts().iter().map(|entry| Hash::leaf(entry.as_bytes())).collect()
}

/// Returns the head of the seeds' log at a size of 0 to 3 entries.
pub fn head(size: usize) -> TreeHead {
    sign(size as u64, rfc6962::root(&leaves()[..size]))
}

fn sign(size: u64, root: Hash) -> TreeHead {
    let checkpoint = Checkpoint { origin: KEYS.log.origin.clone(), size, root };
    let note = checkpoint.sign(&KEYS.log_secret).to_string();
    TreeHead::verify(note.as_bytes(), &KEYS.log).expect("our own checkpoint")
}

fn round(at: Timestamp, heads: [&TreeHead; 3]) -> Round {
    let cosigned = |(secret, head): (&CosignatureSigningKey, &TreeHead)| {
        let cosigned = CosignedHead::sign(head, secret, Timestamp(at.0 - 5));
        (cosigned.cosigner(), Ok(cosigned))
    };
    Round::new(&KEYS.peers, at, KEYS.peer_secrets.iter().zip(heads).map(cosigned).collect())
}

/// Returns a proof bundle of the first entry. The heads of its latest round have these sizes, and
/// the last size must be the largest.
fn bundle(sizes: [usize; 3]) -> ProofBundle {
    let largest = sizes[2];
    let leaves = &leaves()[..largest];
    let heads = sizes.map(head);
    let mut chain = ConsistentHeads::new(heads[2].clone());
    let mut proofs = Proofs::default();
    for head in &heads {
        let size = head.size() as usize;
        proofs.inclusion.insert(head.size(), rfc6962::path(0, &leaves[..size]));
        if size < largest {
            let path = rfc6962::full_proof(size, leaves);
            chain.add(head, &path);
            proofs.paths.insert(head.size(), path);
        }
    }
    let [a, b, c] = &heads;
    let earlier = round(Timestamp(NOW.0 - 7200), [a, a, a]);
    let latest = round(NOW, [a, b, c]);
    let note = Note::parse(entry_texts()[0].as_bytes()).expect("a note");
    let signed_release =
        SignedRelease::verify(LogEntry { index: 0, note }, &KEYS.policy, 0, NOW).expect("signed");
    let logged =
        signed_release.prove_inclusion(&chain, None, &rfc6962::path(0, leaves)).expect("logged");
    let limits = RoundLimits::default();
    let confirmed = logged.confirm(&chain, &KEYS.peers, &limits, Some(&earlier), &latest);
    ProofBundle::from_confirmed(&confirmed.expect("confirmed"), &proofs)
}

/// Returns a joining peer, with keys and an address of its own for each seed.
pub fn member(seed: u8) -> PeerEntry {
    let name = format!("peer-{seed}");
    PeerEntry {
        peer: Peer {
            name: name.parse().expect("a name"),
            operator: name.parse().expect("a name"),
            key: CosignatureSigningKey::from_seed(name.parse().expect("a name"), &[seed; 32])
                .public(),
        },
        address: OnionAddress { key: [seed; 32], port: 4242 },
        client_auth: Some(client_auth_key(seed)),
        artifacts: None,
        membership: Membership::Joining { size: 0, root: Hash::empty_root() },
    }
}

fn client_auth_key(seed: u8) -> ClientAuthKey {
    ClientAuthSecret::from_seed([seed; 32]).public()
}

/// Returns the text of a peers file with the three peers of [`KEYS`], all of them counted.
pub fn peers_file() -> String {
    let peers = PEER_NAMES.iter().zip(&KEYS.peer_secrets).zip(1..).map(|((name, secret), seed)| {
        let peer = Peer {
            name: name.parse().expect("a name"),
            operator: name.parse().expect("a name"),
            key: secret.public(),
        };
        edit::format_peer_table(&PeerEntry {
            peer,
            membership: Membership::Counted,
            ..member(seed)
        })
    });
    format!("min_peers = 3\n\n{}", peers.collect::<Vec<_>>().join("\n"))
}

// --- Seeds ---

fn notes() -> Seeds {
    let mut twice = signed("text\n");
    twice.sign(&KEYS.publishers[0]);
    let cosigned = CosignedHead::sign(&head(1), &KEYS.peer_secrets[0], NOW);
    vec![
        ("two-keys", signed("text\n\nof two paragraphs\n").to_string().into()),
        ("one-key-twice", twice.to_string().into()),
        ("empty-text", signed("\n").to_string().into()),
        ("checkpoint", cosigned.note().into()),
    ]
}

fn checkpoints() -> Seeds {
    let text = format!(
        "{}extension 1\nextension 2\n",
        Checkpoint { origin: KEYS.log.origin.clone(), size: 2, root: Hash::leaf(b"root") }.text()
    );
    let mut extended = Note::unsigned(&text).expect("a text");
    extended.sign(&KEYS.log_secret);
    let cosigned = CosignedHead::sign(&head(2), &KEYS.peer_secrets[0], NOW);
    let other = CosignedHead::sign(&head(2), &KEYS.peer_secrets[1], NOW);
    let both = format!("{}{}", cosigned.note(), &other.note()[head(2).note().len()..]);
    vec![
        ("head", head(3).note().into()),
        ("empty", sign(0, Hash::empty_root()).note().into()),
        ("extended", extended.to_string().into()),
        ("view", cosigned.note().into()),
        ("two-views", both.into()),
    ]
}

fn statements() -> Seeds {
    let newer = "unanimity/manifest/v2\nproduct hello\nchannel stable\n";
    vec![
        ("release", manifest(2).to_string().into()),
        ("withdrawal", withdrawal(2).to_string().into()),
        ("newer-format", newer.into()),
    ]
}

fn evidence() -> Seeds {
    let (two, three) = (head(2), head(3));
    let forked = sign(2, Hash::leaf(b"another tree"));
    let path = rfc6962::full_proof(2, &leaves());
    let same = Evidence::from_heads(&two, &forked, &[]).expect("evidence");
    let grown = Evidence::from_heads(&forked, &three, &path).expect("evidence");
    vec![("one-size", same.to_string().into()), ("two-sizes", grown.to_string().into())]
}

fn bundles() -> Seeds {
    let one = bundle([1, 1, 1]).to_string();
    let proof = one.split_once("cosigned-head ").and_then(|(_, rest)| rest.split_once('\n'));
    let proof = proof
        .and_then(|(_, rest)| rest.split_once("cosigned-head "))
        .map_or("", |(proof, _)| proof);
    vec![
        ("one-entry", one.clone().into()),
        ("three-heads", bundle([1, 2, 3]).to_string().into()),
        ("proof", proof.into()),
        ("proof-with-extra", proof.replacen("\nindex", "\nextra AAAA\nindex", 1).into()),
    ]
}

fn messages() -> Seeds {
    let log = KEYS.log.id();
    let tile = Tile { level: 1, index: 7, width: 256 };
    let questions = [Question::CosignedHead(log), Question::Tile(log, tile)];
    let cosigned = CosignedHead::sign(&head(1), &KEYS.peer_secrets[0], NOW);
    let answers = [
        Answer::CosignedHead(cosigned.note().to_owned()),
        Answer::Evidence("unanimity/evidence/v1\n".to_owned()),
        Answer::NoFreshHead(NOW.0),
        Answer::Tile(vec![7; 64]),
        Answer::OtherLog,
        Answer::NoTile,
    ];
    let mut frames: Vec<Vec<u8>> = questions.iter().map(Question::encode).collect();
    frames.extend(answers.iter().map(Answer::encode));
    // The message without the padding of its frame, which is useless to a fuzzer.
    let message = |frame: &Vec<u8>| {
        let length = frame.first_chunk().map_or(0, |length| u32::from_be_bytes(*length) as usize);
        [&[2], &frame[4..4 + length]].concat()
    };
    let names = [
        "view",
        "tile",
        "answer-view",
        "answer-evidence",
        "answer-blind",
        "answer-tile",
        "answer-other-log",
        "answer-no-tile",
    ];
    let mut seeds: Seeds = names.into_iter().zip(frames.iter().map(message)).collect();
    seeds.push(("frame", [&[3], &frames[0][..]].concat()));
    seeds
}

fn tiles() -> Seeds {
    let mut seeds: Seeds = vec![
        ("path", b"tile/1/x001/x234/067".into()),
        ("partial", b"tile/0/001.p/44".into()),
        ("entries", b"tile/entries/x001/234.p/5".into()),
    ];
    seeds.extend(numbers(3));
    seeds
}

/// Returns `count` seeds of arbitrary bytes, from SHA-256, for targets that read numbers from their
/// input.
fn numbers(count: u8) -> Seeds {
    let names = ["numbers-0", "numbers-1", "numbers-2", "numbers-3"];
    let bytes = |i: u8| (0..4).flat_map(|part| Hash::digest(&[i, part]).0).collect();
    names.into_iter().zip((0..count).map(bytes)).collect()
}

fn entries() -> Seeds {
    let entry = |text: String| [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat();
    let mut seeds: Seeds =
        vec![("bundle", (0..3).flat_map(|i| entry(format!("entry {i}"))).collect())];
    seeds.extend(numbers(4));
    seeds
}

fn spools() -> Seeds {
    let file = |enough: u8, first: u64| {
        let mut bytes = vec![enough];
        bytes.extend(first.to_be_bytes());
        for text in ["one", "", "three"] {
            bytes.extend((text.len() as u16).to_be_bytes());
            bytes.extend(text.as_bytes());
        }
        bytes
    };
    vec![("all", file(255, 7)), ("two", file(2, 0)), ("last", file(255, u64::MAX - 1))]
}

fn answers() -> Seeds {
    let answer = |head: &str, body: &str| {
        [&[16, 10], format!("HTTP/1.1 {head}\r\n\r\n{body}").as_bytes()].concat()
    };
    let chunked = "200 OK\r\nTransfer-Encoding: chunked";
    let range = "206 Partial Content\r\nContent-Range: bytes 10-13/14\r\nContent-Length: 4";
    vec![
        ("length", answer("200 OK\r\nContent-Length: 4", "tile")),
        ("chunks", answer(chunked, "4\r\ntile\r\n1\r\n!\r\n0\r\nTrailer: x\r\n\r\n")),
        ("to-the-end", answer("200 OK\r\nConnection: close", "tile")),
        ("range", answer(range, "tile")),
        ("compressed", answer("200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1", "x")),
        ("elsewhere", answer("301 Moved\r\nLocation: http://x/\r\nContent-Length: 0", "")),
        ("interim", answer("103 Early Hints", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")),
        ("missing", answer("404 Not Found\r\nContent-Length: 0", "")),
    ]
}

fn requests() -> Seeds {
    let request = |line: &str, headers: &str| {
        [&[16], format!("{line} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes()].concat()
    };
    let get = "GET /tile/0/000";
    let two = [request(get, ""), request("GET /checkpoint", "")[1..].to_vec()].concat();
    vec![
        ("get", request(get, "")),
        ("head", request("HEAD /checkpoint", "")),
        ("range", request(get, "Range: bytes=3-\r\n")),
        ("beyond", request(get, "Range: bytes=10-\r\n")),
        ("post", request("POST /checkpoint", "Content-Length: 0\r\n")),
        ("missing", request("GET /../checkpoint", "")),
        ("two", two),
    ]
}

fn archives() -> Seeds {
    let header = |kind: u8, name: &str, link: &str, size: usize, mode: &str| {
        let mut block = [0; 512];
        let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
        put(0, name.as_bytes());
        put(100, mode.as_bytes());
        put(108, b"0000000\x000000000\0");
        put(124, format!("{size:011o}\0").as_bytes());
        put(136, b"00000000000\0");
        put(148, b"        ");
        put(156, &[kind]);
        put(157, link.as_bytes());
        put(257, b"ustar\x0000");
        let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block.to_vec()
    };
    let content = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    };
    let long = "n".repeat(120);
    let record = format!("130 path={long}\n");
    assert_eq!(record.len(), 130);
    let archive = [
        header(b'5', "bin/", "", 0, "0000755\0"),
        header(b'0', "bin/run", "", 5, "0000755\0"),
        content(b"hello"),
        header(b'2', "bin/link", "../bin/run", 0, "0000777\0"),
        header(b'x', "extended", "", record.len(), "0000644\0"),
        content(record.as_bytes()),
        header(b'0', &long[..100], "", 0, "0000644\0"),
        vec![0; 1024],
    ]
    .concat();
    let small = [header(b'0', "a", "", 1, "0000644\0"), content(b"a"), vec![0; 1024]].concat();
    let mut gz = GzEncoder::new(Vec::new(), Compression::best());
    gz.write_all(&small).expect("in memory");
    let gz = gz.finish().expect("in memory");
    let zst = zstd::encode_all(&small[..], 3).expect("in memory");
    let how = |how: u8, archive: &[u8]| [&[how], archive].concat();
    vec![
        ("tar", how(0, &archive)),
        ("repaired", how(1, &archive)),
        ("small", how(1, &small)),
        ("gz", how(2, &gz)),
        ("zst", how(3, &zst)),
    ]
}

fn configurations() -> Seeds {
    let keys: Vec<String> =
        KEYS.publishers.iter().map(|secret| format!("\"{}\"", secret.public())).collect();
    let (keys, origin, log) = (keys.join(", "), &KEYS.log.origin, &KEYS.log.key);
    let onion = MirrorUrl::from_onion_key([9; 32]);
    let least = format!(
        r#"[product]
name = "hello"
channel = "stable"

[publisher]
threshold = 2
keys = [{keys}]

[log]
origin = "{origin}"
key = "{log}"
mirrors = ["file:/nowhere/log"]

[install]
root = "hello"
state = "state"
"#
    );
    let more = least
        .replace("channel", "platform = \"x86_64-linux\"\nchannel")
        .replace("[\"file:", &format!("[\"https://example.org/log\", \"{onion}/log\", \"file:"))
        .replace("mirrors", "pinned = \"pinned\"\nmirrors");
    let all = more
        + r#"spool = "spool"
freshness = "2h"
keep = 5
pre_install = ["/bin/true"]
handover = ["/bin/cat", "{}"]
post_install = ["/bin/true", "x"]
restart = "hello.service"
on_success = ["/bin/true"]
timeout = "1m"
health = { check = ["/bin/true"], timeout = "30s" }

[limits]
settle = "2h"
round_ttl = "15m"
max_cosignature_age = "15m"
ask_timeout = "45s"
round_timeout = "2m"
removal_delay = "7days"
poll_min = "1m"
poll_max = "2m"
max_poll_age = "10m"

[tor]
state = "tor"
cache = "cache"
bootstrap_timeout = "90s"
bridges = ["192.0.2.1:443"]
transports = [{ protocols = ["obfs4"], path = "/usr/bin/obfs4proxy" }]

[serve]
name = "us"
port = 4242
policy = "download"
round_interval_min = "20m"
round_interval_max = "40m"
client_auth = true
proof_of_work = false
artifacts = { keep = "1GiB", rate = "1MiB" }

[alert]
command = ["/bin/true"]
incomplete_after = "24h"
"#;
    vec![("least", least.into()), ("all", all.into())]
}

fn peers_files() -> Seeds {
    let which = |which: u8, text: &str| [&[which], text.as_bytes()].concat();
    let joining = peers_file() + "\n# The next peer.\n" + &edit::format_peer_table(&member(4));
    let leaving =
        joining.replace("client_auth", "leaves_at = \"2026-01-01T00:00:00Z\" # soon\nclient_auth");
    let fields = |block: String| {
        let lines: Vec<&str> = block.lines().skip(1).collect();
        format!("{{ {} }}", lines.join(", "))
    };
    let (one, two) =
        (fields(edit::format_peer_table(&member(5))), fields(edit::format_peer_table(&member(6))));
    let inline = format!("min_peers = 1\npeer = [\n  {one}, # the first\n  {two}\n]\n");
    vec![
        ("counted", which(1, &peers_file())),
        ("joining", which(3, &joining)),
        ("leaving", which(0, &leaving)),
        ("inline", which(1, &inline)),
        ("windows", which(2, &joining.replace('\n', "\r\n"))),
        ("empty", which(0, "min_peers = 3")),
    ]
}

fn invites() -> Seeds {
    let PeerEntry { peer, address, client_auth, .. } = member(8);
    let invite = Invite {
        name: peer.name,
        origin: KEYS.log.origin.clone(),
        log: KEYS.log.id(),
        address,
        key: peer.key,
        client_auth: client_auth.expect("it has one"),
        artifacts: None,
        size: 3,
        root: *head(3).root(),
    };
    let artifacts = Some(MirrorUrl::from_onion_key([12; 32]));
    let elsewhere = "log of, others".parse().expect("an origin");
    vec![
        ("plain", invite.to_string().into()),
        ("artifacts", Invite { artifacts, ..invite.clone() }.to_string().into()),
        ("other-log", Invite { origin: elsewhere, ..invite }.to_string().into()),
    ]
}

fn values() -> Seeds {
    let secret = &KEYS.publishers[0];
    let onion = MirrorHost::Onion([9; 32]);
    vec![
        ("name", b"hello-1.0~rc1+b".into()),
        ("label", b"2-1.1.0".into()),
        ("time", NOW.to_string().into()),
        ("origin", KEYS.log.origin.to_string().into()),
        ("note-key", secret.public().to_string().into()),
        ("note-secret", secret.to_private_key_line().into()),
        ("peer-key", KEYS.peer_secrets[0].public().to_string().into()),
        ("peer-secret", KEYS.peer_secrets[0].to_private_key_line().into()),
        ("base64", Hash::digest(b"").base64().into()),
        ("hex", Hash::digest(b"").hex().into()),
        ("address", member(1).address.to_string().into()),
        ("discovery", client_auth_key(1).to_string().into()),
        ("onion", format!("http://{onion}:8080/log").into()),
        ("web", b"https://[2001:db8::1]:8443/a/b/".into()),
        ("directory", b"file:/srv/log".into()),
    ]
}

fn journals() -> Seeds {
    let mut trial = Trial::new("3-1.2.0".to_owned(), Some("2-1.1.0".to_owned()), false);
    // A new trial has random values. They are replaced, because seeds are equal in every run.
    (trial.process_tag, trial.sha256) = ("mark".to_owned(), Hash::digest(b"mark").hex());
    let failed =
        FailedRelease { times: 2, last: Timestamp(NOW.0 - 60), why: "it said no".to_owned() };
    let journal = Journal {
        floor: 2,
        good: vec!["1-1.0.0".to_owned(), "2-1.1.0".to_owned()],
        trial: Some(trial),
        failed: BTreeMap::from([("4-1.3.0".to_owned(), failed)]),
        approved: Some("4-1.3.0".to_owned()),
    };
    vec![("empty", Journal::default().text().into()), ("all", journal.text().into())]
}

fn identities() -> Seeds {
    let directory = scratch::directory().join("seed");
    let cosigning_key = KEYS.peer_secrets[0].clone();
    let identity = Identity { cosigning_key, client_auth: ClientAuthSecret::from_seed([1; 32]) };
    identity.write(&directory, &Storage::default()).expect("written");
    let bytes = std::fs::read(directory.join("peer/identity.json")).expect("the file is there");
    vec![("identity", bytes)]
}

fn states() -> Seeds {
    let save = |state: &ClientState| {
        let directory = scratch::directory().join("state");
        let open = ClientStore::open(&directory, &KEYS.policy, &KEYS.peers, Storage::default());
        let (mut store, _) = open.expect("no other process holds the lock");
        store.save(state).expect("written");
        drop(store);
        let bytes = std::fs::read(directory.join("client.json")).expect("the file is there");
        std::fs::remove_dir_all(directory).expect("our own directory");
        bytes
    };
    let mut state = ClientState { head: Some(head(3)), ..ClientState::default() };
    for (index, (entry, leaf)) in entry_texts().iter().zip(leaves()).enumerate() {
        state.frontier.push(leaf);
        state.catalog.add_entry(index as u64, entry.as_bytes(), &KEYS.policy);
    }
    let heads = [head(1), head(2), head(3)];
    state.rounds = vec![round(NOW, heads.each_ref())];
    state.largest_heads = state.rounds[0]
        .cosigned_heads()
        .map(|cosigned| (cosigned.cosigner(), cosigned.clone()))
        .collect();
    state.silent_since = BTreeMap::from([(KEYS.peer_secrets[1].public().raw(), NOW)]);
    state.latest_verified_time = NOW;
    state.unanimous_at = Some(NOW);
    state.highest_installed = 1;
    let failures = MirrorFailures { consecutive: 2, last: NOW };
    state.mirror_backoff = [("https://example.org/log".to_owned(), failures)].into_iter().collect();
    let unread =
        ClientState { frontier: Frontier::default(), catalog: Catalog::default(), ..state.clone() };
    vec![("empty", save(&ClientState::default())), ("all", save(&state)), ("unread", save(&unread))]
}

/// Panics unless the peers file and a proof bundle of the seeds are valid, and repair leaves the
/// bundle unchanged. A seed that a parser refuses at once is useless.
pub fn assert_sound() {
    assert!(PeerList::parse(&peers_file()).is_ok());
    let text = bundle([1, 2, 3]).to_string();
    let verified = ProofBundle::parse(&text).map(|bundle| {
        bundle
            .verify(&KEYS.policy, &KEYS.peers, &RoundLimits::default())
            .expect("the bundle verifies")
    });
    assert!(verified.is_ok());
    let repaired = crate::repair::blocks(&text);
    assert_eq!(repaired, text, "repair changed a valid bundle");
}
