//! The Merkle tree of RFC 6962, word for word: recursive and slow.

use unanimity_protocol::Hash;

/// Where a tree of two leaves or more is split.
fn split(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}

/// MTH(D[n]) of section 2.1, over leaf hashes.
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::of(b""),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            let (left, right) = (root(left), root(right));
            Hash::of(&[&[1][..], &left.0, &right.0].concat())
        }
    }
}

/// PATH(m, D[n]) of section 2.1.1.
pub fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut path, sibling) =
        if m < k { (self::path(m, left), right) } else { (self::path(m - k, right), left) };
    path.push(root(sibling));
    path
}

/// SUBPROOF(m, D[n], b) of section 2.1.2. With `whole` false, the first hash is never left out.
pub fn subproof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if whole { Vec::new() } else { vec![root(leaves)] };
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut proof, sibling) = if m <= k {
        (subproof(m, left, whole), right)
    } else {
        (subproof(m - k, right, false), left)
    };
    proof.push(root(sibling));
    proof
}
