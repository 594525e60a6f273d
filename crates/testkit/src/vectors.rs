//! The test vectors in `spec/vectors`, and the comparison of this implementation's answers.
//!
//! `spec/vectors/generate.py`, another implementation, writes the files and their answers. A file's
//! name is its claim.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The directory of all vectors.
pub fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/vectors")
}

/// Gives every file of a format to `verify`, and compares its answers with `answers.tsv`.
///
/// `verify` takes the file's name without extension, and the file's bytes. An error of `verify` is
/// the answer `refuse`.
///
/// # Panics
///
/// If an answer differs, if a file has no answer, or if an answer has no file.
pub fn compare_answers(format: &str, verify: impl Fn(&str, &[u8]) -> Result<String, String>) {
    let directory = vectors().join(format);
    let table = fs::read_to_string(directory.join("answers.tsv")).expect("answers.tsv");
    let mut expected: BTreeMap<&str, &str> =
        table.lines().map(|line| line.split_once('\t').expect("FILE, tab, ANSWER")).collect();
    let mut wrong = Vec::new();
    for kind in ["valid", "invalid"] {
        let files = fs::read_dir(directory.join(kind)).expect("a directory of vectors");
        for file in files {
            let path = file.expect("a vector").path();
            let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name in UTF-8");
            let judged = verify(name, &fs::read(&path).expect("a vector"));
            let answer = judged.as_deref().unwrap_or("refuse");
            let key = format!("{kind}/{name}");
            let wanted = expected.remove(&key[..]);
            if wanted != Some(answer) {
                wrong.push(format!("{format}/{key}: {judged:?}, and answers.tsv has {wanted:?}"));
            }
        }
    }
    wrong.extend(expected.keys().map(|key| format!("{format}/{key}: an answer without a file")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
