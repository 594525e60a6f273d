//! A slow, recursive implementation of the Merkle tree, as RFC 6962, section 2.1 defines it.

use unanimity_protocol::Hash;

/// Returns the largest power of two that is smaller than `n`, for `n` > 1.
fn split(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}

/// Computes the root `MTH(D[n])` over leaf hashes.
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::digest(b""),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            let (left, right) = (root(left), root(right));
            Hash::digest(&[&[1][..], &left.0, &right.0].concat())
        }
    }
}

/// Computes the inclusion proof `PATH(m, D[n])`.
pub fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut proof, sibling) =
        if m < k { (path(m, left), right) } else { (path(m - k, right), left) };
    proof.push(root(sibling));
    proof
}

/// Computes the consistency proof `PROOF(m, D[n])`.
pub fn proof(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    subproof(m, leaves, true)
}

/// Computes `PROOF(m, D[n])`. Its first hash is always the root of the subtree from which the proof
/// starts, also where the RFC and [`proof`] omit that hash.
pub fn full_proof(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    subproof(m, leaves, false)
}

fn subproof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if whole { Vec::new() } else { vec![root(leaves)] };
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    if m <= k {
        let mut proof = subproof(m, left, whole);
        proof.push(root(right));
        proof
    } else {
        let mut proof = subproof(m - k, right, false);
        proof.push(root(left));
        proof
    }
}
