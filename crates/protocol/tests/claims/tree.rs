//! Claims about the Merkle tree: it equals a naive RFC 6962 tree, also at extreme sizes.

use proptest::prelude::*;
use unanimity_protocol::Hash;
use unanimity_protocol::tree::{
    Frontier, Subtree, complete_subtrees, consistency_ranges, consistency_roots, inclusion_ranges,
    verify_consistency, verify_inclusion,
};
use unanimity_testkit::rfc6962 as naive;

use crate::fixtures::{cases, fulfil, leaves};

const SIZES: usize = 70;

/// Sizes at which shifts, carries and signs are likely to go wrong.
const EXTREME: [u64; 13] = [
    0,
    1,
    2,
    3,
    (1 << 32) - 1,
    1 << 32,
    (1 << 62) + 1,
    (1 << 63) - 1,
    1 << 63,
    (1 << 63) + 1,
    u64::MAX - 2,
    u64::MAX - 1,
    u64::MAX,
];

fn frontier(leaves: &[Hash]) -> Frontier {
    let mut frontier = Frontier::default();
    leaves.iter().for_each(|leaf| frontier.push(*leaf));
    frontier
}

#[test]
fn roots_are_those_of_the_certificate_transparency_vectors() {
    let inputs: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut frontier = Frontier::default();
    assert_eq!(frontier.root().hex(), roots[0]);
    for (input, root) in inputs.iter().zip(&roots[1..]) {
        frontier.push(Hash::leaf(input));
        assert_eq!(frontier.root().hex(), *root);
    }
}

#[test]
fn last_leaf_is_not_repeated_to_fill_a_tree() {
    let [a, b, c] = [0, 1, 2].map(|i| leaves(3)[i]);
    assert_ne!(frontier(&[a, b, c]).root(), frontier(&[a, b, c, c]).root());
}

#[test]
fn a_frontier_has_the_root_of_the_naive_tree_at_every_size() {
    let leaves = leaves(SIZES);
    for size in 0..=SIZES {
        let edge = frontier(&leaves[..size]);
        assert_eq!((edge.size(), edge.root()), (size as u64, naive::root(&leaves[..size])));
        let peaks = fulfil(
            complete_subtrees(0..size as u64)
                .iter()
                .map(|n| n.index << n.level..(n.index + 1) << n.level)
                .collect(),
            &leaves,
        );
        assert_eq!(edge.peaks(), peaks);
        assert_eq!(Frontier::new(size as u64, peaks.clone()), Some(edge));
        let one_more = [&peaks[..], &[leaves[0]]].concat();
        assert_eq!(Frontier::new(size as u64, one_more), None);
        if let Some((_, one_less)) = peaks.split_last() {
            assert_eq!(Frontier::new(size as u64, one_less.to_vec()), None);
        }
    }
}

#[test]
fn planned_inclusion_proofs_are_the_naive_ones_and_verify() {
    let leaves = leaves(SIZES);
    for size in 1..=SIZES {
        let tree = &leaves[..size];
        let root = naive::root(tree);
        for (index, leaf) in tree.iter().enumerate() {
            let proof = naive::path(index, tree);
            assert_eq!(fulfil(inclusion_ranges(index as u64, size as u64), tree), proof);
            assert!(verify_inclusion(index as u64, size as u64, leaf, &proof, &root));
        }
        assert_eq!(inclusion_ranges(size as u64, size as u64), []);
    }
}

#[test]
fn planned_consistency_proofs_are_the_naive_ones_and_verify() {
    let leaves = leaves(SIZES);
    let roots: Vec<Hash> = (0..=SIZES).map(|size| naive::root(&leaves[..size])).collect();
    for new in 1..=SIZES {
        for old in 1..new {
            let (m, n) = (old as u64, new as u64);
            let path = fulfil(consistency_ranges(m, n), &leaves);
            assert_eq!(path, naive::full_proof(old, &leaves[..new]));
            assert_eq!(consistency_roots(m, n, &path), Some((roots[old], roots[new])));
            let rfc = naive::proof(old, &leaves[..new]);
            assert!(verify_consistency(m, n, &roots[old], &roots[new], &rfc));
            assert_eq!(old.is_power_of_two(), rfc.len() + 1 == path.len());
        }
        let n = new as u64;
        assert!(verify_consistency(n, n, &roots[new], &roots[new], &[]));
        assert!(!verify_consistency(n, n, &roots[new], &roots[new], &[leaves[0]]));
        assert!(!verify_consistency(n, n, &roots[new - 1], &roots[new], &[]));
    }
}

/// Proofs that differ from `proof` in one hash or in the order.
fn nearly(proof: &[Hash]) -> Vec<Vec<Hash>> {
    let mut all = vec![
        [proof, &[Hash::digest(b"more")]].concat(),
        [&[Hash::digest(b"more")], proof].concat(),
    ];
    if let (Some(last), Some(first)) = (proof.last(), proof.first()) {
        all.push([proof, &[*last]].concat());
        all.push([&[*first], proof].concat());
        all.push(proof[1..].to_vec());
        all.push(proof[..proof.len() - 1].to_vec());
    }
    for at in 0..proof.len() {
        for byte in [0, 31] {
            let mut flipped = proof.to_vec();
            flipped[at].0[byte] ^= 1;
            all.push(flipped);
        }
        if at > 0 && proof[at] != proof[at - 1] {
            let mut swapped = proof.to_vec();
            swapped.swap(at, at - 1);
            all.push(swapped);
        }
    }
    all
}

#[test]
fn inclusion_proof_holds_for_its_own_leaf_index_size_and_root_only() {
    let leaves = leaves(20);
    for size in 1..=20 {
        let tree = &leaves[..size];
        let root = naive::root(tree);
        for index in 0..size {
            let proof = naive::path(index, tree);
            let holds = |index: usize, size: usize, leaf: usize, proof: &[Hash], root: &Hash| {
                verify_inclusion(index as u64, size as u64, &leaves[leaf], proof, root)
            };
            for wrong in nearly(&proof) {
                assert!(!holds(index, size, index, &wrong, &root), "{index} of {size}: {wrong:?}");
            }
            for other in (0..20).filter(|other| *other != index) {
                assert!(!holds(index, size, other, &proof, &root));
                assert!(!holds(other, size, index, &proof, &root), "{index} as {other} of {size}");
            }
            for other in (0..=20).filter(|other| *other != size) {
                assert!(!holds(index, size, index, &proof, &naive::root(&leaves[..other])));
            }
        }
    }
}

#[test]
fn inclusion_proof_fails_for_sizes_that_need_another_length() {
    let leaves = leaves(16);
    let root = naive::root(&leaves);
    for index in 0..16 {
        let proof = naive::path(index, &leaves);
        for size in (0..70).filter(|size| inclusion_ranges(index as u64, *size).len() != 4) {
            assert!(!verify_inclusion(index as u64, size, &leaves[index], &proof, &root));
        }
    }
}

#[test]
fn a_consistency_proof_holds_for_its_own_roots_only() {
    let leaves = leaves(24);
    let roots: Vec<Hash> = (0..=24).map(|size| naive::root(&leaves[..size])).collect();
    for new in 2..=24 {
        for old in 1..new {
            let (m, n) = (old as u64, new as u64);
            let proof = naive::proof(old, &leaves[..new]);
            for wrong in nearly(&proof) {
                assert!(!verify_consistency(m, n, &roots[old], &roots[new], &wrong));
            }
            for other in (0..=24).filter(|other| *other != old) {
                assert!(!verify_consistency(m, n, &roots[other], &roots[new], &proof));
            }
            for other in (0..=24).filter(|other| *other != new) {
                assert!(!verify_consistency(m, n, &roots[old], &roots[other], &proof));
            }
            assert!(!verify_consistency(n, m, &roots[new], &roots[old], &proof));
            // An altered path gives other roots, or none.
            let full = naive::full_proof(old, &leaves[..new]);
            for wrong in nearly(&full) {
                assert_ne!(consistency_roots(m, n, &wrong), Some((roots[old], roots[new])));
            }
        }
    }
}

#[test]
fn nothing_is_consistent_with_size_zero() {
    let (empty, one) = (Hash::empty_root(), leaves(1)[0]);
    assert!(!verify_consistency(0, 0, &empty, &empty, &[]));
    assert!(!verify_consistency(0, 1, &empty, &one, &[]));
    assert!(!verify_consistency(0, 1, &empty, &one, &[one]));
    assert_eq!(consistency_roots(0, 1, &[one]), None);
    assert_eq!(consistency_ranges(0, 5), []);
}

#[test]
fn consistency_roots_need_a_smaller_and_a_larger_size() {
    let path = leaves(3);
    for (old, new) in [(0, 0), (5, 5), (6, 5), (u64::MAX, u64::MAX), (u64::MAX, 0)] {
        assert_eq!(consistency_roots(old, new, &path), None);
        assert_eq!(consistency_ranges(old, new), []);
    }
    assert_eq!(consistency_roots(1, 2, &[]), None);
}

fn width(node: &Subtree) -> u128 {
    1 << node.level
}

#[test]
fn extreme_sizes_are_cut_into_subtrees_that_fill_them_exactly() {
    for end in EXTREME {
        let mut begin = 0u128;
        for node in complete_subtrees(0..end) {
            assert!(node.level < 64);
            assert_eq!(u128::from(node.index) * width(&node), begin);
            begin += width(&node);
        }
        assert_eq!(begin, u128::from(end));
        assert_eq!(complete_subtrees(0..end).len(), end.count_ones() as usize);
        assert_eq!(complete_subtrees(end..end), []);
    }
}

#[test]
fn extreme_sizes_have_inclusion_proofs_that_verify_and_nothing_panics() {
    let leaf = Hash::leaf(b"entry");
    for size in EXTREME {
        for index in EXTREME.iter().flat_map(|i| [i.saturating_sub(1), *i]) {
            let ranges = inclusion_ranges(index, size);
            assert!(ranges.len() <= 64);
            assert_eq!(ranges.is_empty(), index >= size || size == 1);
            let proof: Vec<Hash> = (0..ranges.len()).map(|i| Hash::digest(&[i as u8])).collect();
            let root = ranges.iter().zip(&proof).fold(leaf, |root, (range, hash)| {
                if range.start < index { Hash::node(hash, &root) } else { Hash::node(&root, hash) }
            });
            assert_eq!(verify_inclusion(index, size, &leaf, &proof, &root), index < size);
            for length in (0..=130).filter(|length| *length != proof.len()) {
                assert!(!verify_inclusion(index, size, &leaf, &vec![root; length], &root));
            }
        }
    }
}

#[test]
fn extreme_sizes_have_consistency_proofs_that_verify_and_nothing_panics() {
    for new in EXTREME {
        for old in EXTREME {
            let ranges = consistency_ranges(old, new);
            assert!(ranges.len() <= 65);
            assert_eq!(ranges.is_empty(), old == 0 || old >= new);
            let path: Vec<Hash> = (0..ranges.len()).map(|i| Hash::digest(&[i as u8])).collect();
            let roots = consistency_roots(old, new, &path);
            assert_eq!(roots.is_some(), !ranges.is_empty());
            if let Some((old_root, new_root)) = roots {
                let rfc = if old.is_power_of_two() { &path[1..] } else { &path };
                assert!(verify_consistency(old, new, &old_root, &new_root, rfc));
                assert!(!verify_consistency(old, new, &new_root, &old_root, rfc));
                assert!(!verify_consistency(
                    old,
                    new,
                    &old_root,
                    &new_root,
                    &path[..path.len() - 1]
                ));
            }
            for length in (0..=130).filter(|length| *length != path.len()) {
                assert_eq!(consistency_roots(old, new, &vec![Hash([7; 32]); length]), None);
            }
        }
    }
}

#[test]
fn frontier_of_2_to_the_63_leaves_or_more_is_refused() {
    let leaf = leaves(1)[0];
    assert_eq!(Frontier::new(u64::MAX, vec![leaf; 64]), None);
    assert_eq!(Frontier::new(1 << 63, vec![leaf]), None);
    let mut largest = Frontier::new((1 << 63) - 1, vec![leaf; 63]).unwrap();
    largest.push(leaf);
    assert_eq!((largest.size(), largest.peaks().len()), (1 << 63, 1));
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn larger_trees_agree_with_the_naive_one(size in 70usize..600, at in any::<u32>(), old in any::<u32>()) {
        let leaves = leaves(size);
        let (index, old) = (at as usize % size, 1 + old as usize % (size - 1));
        let (root, old_root) = (naive::root(&leaves), naive::root(&leaves[..old]));
        let (i, m, n) = (index as u64, old as u64, size as u64);

        prop_assert_eq!(frontier(&leaves).root(), root);
        let proof = fulfil(inclusion_ranges(i, n), &leaves);
        prop_assert_eq!(&proof, &naive::path(index, &leaves));
        prop_assert!(verify_inclusion(i, n, &leaves[index], &proof, &root));
        for wrong in nearly(&proof) {
            prop_assert!(!verify_inclusion(i, n, &leaves[index], &wrong, &root));
        }

        let path = fulfil(consistency_ranges(m, n), &leaves);
        prop_assert_eq!(&path, &naive::full_proof(old, &leaves));
        prop_assert_eq!(consistency_roots(m, n, &path), Some((old_root, root)));
        let rfc = naive::proof(old, &leaves);
        prop_assert!(verify_consistency(m, n, &old_root, &root, &rfc));
        for wrong in nearly(&rfc) {
            prop_assert!(!verify_consistency(m, n, &old_root, &root, &wrong));
        }
    }

    #[test]
    fn no_size_index_or_length_panics(a in any::<u64>(), b in any::<u64>(), length in 0usize..70) {
        let hashes = vec![Hash([3; 32]); length];
        let (old, new) = (a.min(b), a.max(b));
        prop_assert!(inclusion_ranges(old, new).len() <= 64);
        prop_assert!(consistency_ranges(old, new).len() <= 65);
        verify_inclusion(old, new, &hashes.first().copied().unwrap_or(Hash([0; 32])), &hashes, &Hash([0; 32]));
        verify_consistency(old, new, &Hash([0; 32]), &Hash([0; 32]), &hashes);
        consistency_roots(old, new, &hashes);
        let covered: u128 = complete_subtrees(old..new).iter().map(width).sum();
        prop_assert_eq!(covered, u128::from(new - old));
    }
}
