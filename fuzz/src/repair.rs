//! Renewal of the signatures, lengths and digests of an input. A fuzzer cannot guess a signature or
//! a digest, so without repair its inputs would never reach the code behind the checks of them.

use serde_json::Value;
use unanimity_protocol::{Checkpoint, CosignedHead, Hash, Note, Statement, Timestamp, TreeHead};

use crate::keys::KEYS;

/// Renews the signatures of a note. `None` if the text is neither a checkpoint nor a signed
/// statement.
///
/// The log signs a checkpoint, and each peer that a line names cosigns it at the line's time. The
/// publishers that lines name sign a statement.
pub fn note(text: &str) -> Option<String> {
    let note = Note::parse(text.as_bytes()).ok()?;
    if Checkpoint::parse(note.text()).is_ok() {
        return checkpoint(&note, None);
    }
    Statement::parse(note.text()).ok()?;
    let mut signed = Note::unsigned(note.text()).ok()?;
    for secret in &KEYS.publishers {
        if note.signatures().iter().any(|line| line.name == *secret.public().name()) {
            signed.sign(secret);
        }
    }
    (!signed.signatures().is_empty()).then(|| signed.to_string())
}

/// Signs a checkpoint as the log, and cosigns it as each peer that the note names. A checkpoint of
/// size 1 gets `leaf` as its root, if `leaf` is given.
fn checkpoint(note: &Note, leaf: Option<Hash>) -> Option<String> {
    let mut text = note.text().to_owned();
    let read = Checkpoint::parse(&text).ok()?;
    if let (1, Some(leaf)) = (read.size, leaf) {
        text = text.replacen(&read.root.base64(), &leaf.base64(), 1);
    }
    let mut signed = Note::unsigned(&text).ok()?;
    signed.sign(&KEYS.log_secret);
    let Ok(head) = TreeHead::verify(signed.to_string().as_bytes(), &KEYS.log) else {
        return Some(signed.to_string());
    };
    let mut whole = head.note().to_owned();
    for line in note.signatures() {
        let secret = KEYS.peer_secrets.iter().find(|secret| *secret.public().name() == line.name);
        if let (Some(secret), Some((time, _))) = (secret, line.signature.split_first_chunk::<8>()) {
            let cosigned = CosignedHead::sign(&head, secret, Timestamp(u64::from_be_bytes(*time)));
            whole += cosigned.note().strip_prefix(head.note())?;
        }
    }
    Some(whole)
}

/// Renews signatures and lengths in evidence or in a proof bundle.
///
/// The text is a sequence of blocks, each after a line that ends with the block's length. A block
/// ends with its signature lines.
pub fn blocks(text: &str) -> String {
    let mut repaired = String::new();
    let mut leaf = None;
    let mut rest = text;
    while let Some((line, below)) = rest.split_once('\n') {
        rest = below;
        let announced = line.rsplit_once(' ').filter(|(words, _)| {
            ["checkpoint", "cosigned-head", "head"].contains(words)
                || words.starts_with("manifest ")
        });
        let Some((words, block)) = announced.and_then(|(words, _)| Some((words, block(rest)?)))
        else {
            repaired += line;
            repaired.push('\n');
            continue;
        };
        rest = &rest[block.len()..];
        // The block of a cosigned head is a proof whose second part is a checkpoint.
        let from =
            if words == "cosigned-head" { block.find("\n\n").map_or(0, |at| at + 2) } else { 0 };
        let (before, signed) = block.split_at(from);
        let signed = match Note::parse(signed.as_bytes()) {
            Ok(note) => checkpoint(&note, leaf).or_else(|| self::note(signed)),
            Err(_) => None,
        };
        let block = match signed {
            Some(signed) => format!("{before}{signed}"),
            None => block.to_owned(),
        };
        if words.starts_with("manifest ") {
            leaf = Some(Hash::leaf(block.as_bytes()));
        }
        repaired += &format!("{words} {}\n{block}", block.len());
    }
    repaired + rest
}

/// Returns the beginning of `text`, up to the end of its first group of signature lines.
fn block(text: &str) -> Option<&str> {
    let mut end = text.find("\n— ")? + 1;
    while text[end..].starts_with("— ") {
        end += text[end..].find('\n')? + 1;
    }
    Some(&text[..end])
}

/// Renews the signatures of all notes in a state file, and its field `sha256`: the digest of the
/// file with that field empty.
pub fn sealed(bytes: &[u8]) -> Option<String> {
    let mut file: Value = serde_json::from_slice(bytes).ok()?;
    sign_all(&mut file);
    *file.get_mut("sha256")? = Value::String(String::new());
    let text = serde_json::to_string_pretty(&file).ok()?;
    let digest = Hash::digest(text.as_bytes()).hex();
    *file.get_mut("sha256")? = Value::String(digest);
    serde_json::to_string_pretty(&file).ok()
}

fn sign_all(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(signed) = note(text) {
                *text = signed;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(sign_all),
        Value::Object(fields) => fields.values_mut().for_each(sign_all),
        _ => {}
    }
}
