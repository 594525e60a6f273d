//! The fields of a scenario file: their paths and their labels.

/// Path and label (for axes) of every field.
///
/// The end of a path names the field, if no other path has that end. Fields of mirrors and faults
/// are always named in full, so `availability` means `nodes.availability`, and `share` means
/// `adversary.share`.
pub const FIELDS: &[(&str, &str)] = &[
    ("horizon", "time simulated"),
    ("nodes.count", "nodes"),
    ("nodes.peers", "peers that each node asks"),
    ("nodes.topology", "how peers are chosen"),
    ("nodes.availability", "fraction of time that a peer is up"),
    ("nodes.mean_outage", "mean length of an outage"),
    ("mirrors.availability", "fraction of time that a mirror is up"),
    ("mirrors.mean_outage", "mean length of a mirror's outage"),
    ("mirrors.from", "beginning of mirrors' outages"),
    ("mirrors.until", "end of mirrors' outages"),
    ("program.poll", "wait between polls"),
    ("program.max_poll_age", "how long a poll counts"),
    ("program.round_interval", "wait between rounds"),
    ("program.settle", "settle"),
    ("program.ask_timeout", "limit of one try at one peer"),
    ("program.round_timeout", "limit of a whole round"),
    ("tor.model", "Tor"),
    ("tor.connect.median", "median of an onion connection"),
    ("tor.connect.sigma", "sigma of an onion connection"),
    ("tor.stuck", "probability that a connection is stuck"),
    ("tor.slow.probability", "probability that a connection is slow"),
    ("tor.slow.from", "shortest time of a slow connection"),
    ("tor.slow.to", "longest time of a slow connection"),
    ("tor.round_trip.median", "median of a round trip"),
    ("tor.round_trip.sigma", "sigma of a round trip"),
    ("tor.hiccup.probability", "probability that a round trip hangs"),
    ("tor.hiccup.from", "shortest time that a round trip hangs"),
    ("tor.hiccup.to", "longest time that a round trip hangs"),
    ("tor.vantage", "added to each round trip of one pair"),
    ("tor.good.failure", "probability that a connection fails on a good day"),
    ("tor.good.mean", "mean duration of good days"),
    ("tor.bad.failure", "probability that a connection fails on a bad day"),
    ("tor.bad.mean", "mean duration of bad days"),
    ("tor.churn", "fraction of relays that leave in an hour"),
    ("release.first", "time of the first release"),
    ("release.every", "time between releases"),
    ("release.late", "a release is late after"),
    ("release.background", "time between other entries of the log"),
    ("adversary.attack", "attack"),
    ("adversary.start", "start of the attack"),
    ("adversary.victims", "victims"),
    ("adversary.colluding", "colluding peers of each victim"),
    ("adversary.colluding_of_all", "colluding nodes among all"),
    ("adversary.share", "fraction of honest mirrors that show the fork"),
    ("adversary.lasts", "time that honest mirrors show the fork"),
    ("adversary.shape", "shape of the fork"),
    ("adversary.equivocate_to_all", "whether colluding peers show the fork to all clients"),
    ("adversary.withdrawn_after", "time until the trojan is withdrawn"),
    ("fault.kind", "fault"),
    ("fault.share", "fraction of nodes that the fault affects"),
    ("fault.from", "beginning of the fault"),
    ("fault.until", "end of the fault"),
];

/// Finds the path of a field that is named in full or by the end of its path. Fails with the reason
/// if no field or several fields match.
pub fn resolve_field(name: &str) -> Result<&'static str, String> {
    let ending = format!(".{name}");
    let in_full = |path: &str| path.starts_with("mirrors.") || path.starts_with("fault.");
    let ends = |path: &str| path == name || path.ends_with(&ending) && !in_full(path);
    let mut fits = FIELDS.iter().map(|(path, _)| *path).filter(|path| ends(path));
    match (fits.next(), fits.next()) {
        (Some(path), None) => Ok(path),
        (Some(a), Some(b)) => Err(format!("`{name}` could be {a} or {b}: write the full name")),
        _ => Err(format!(
            "there is no field `{name}`; docs/src/researcher/scenario-files.md has all of them"
        )),
    }
}

/// The label of a field; empty for an unknown path.
pub fn field_label(path: &str) -> &'static str {
    FIELDS.iter().find(|(field, _)| *field == path).map_or("", |(_, words)| words)
}
