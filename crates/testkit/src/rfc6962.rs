//! The Merkle tree of RFC 6962, section 2.1, word for word: recursive, and slow.

use unanimity_protocol::Hash;

fn split(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}

/// `MTH(D[n])`, over leaf hashes.
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

/// `PATH(m, D[n])`.
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

/// `PROOF(m, D[n])`.
pub fn proof(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    subproof(m, leaves, true)
}

/// `PROOF(m, D[n])` with the root of the subtree it starts from always first.
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
