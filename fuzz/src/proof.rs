//! Inclusion and consistency proofs, against the definitions of RFC 6962.
//!
//! For the true size and root, only the proof that RFC 6962 defines verifies. No consistency path
//! turns two heads of an honest log into evidence. No size makes a function panic or loop.

use arbitrary::Unstructured;
use unanimity_protocol::consistency::Consistency;
use unanimity_protocol::tree::{
    Frontier, MAX_PROOF, complete_subtrees, consistency_ranges, consistency_roots,
    inclusion_ranges, range_root, verify_consistency, verify_inclusion,
};
use unanimity_protocol::{Checkpoint, ConsistentHeads, Evidence, Hash, TreeHead};

use crate::keys::KEYS;
use crate::rfc6962;

/// Checks proofs of one small tree, and proofs for trees of any size, as the input chooses them.
pub fn check(data: &[u8]) {
    check_small_tree(&mut Unstructured::new(data)).ok();
    check_any_size(&mut Unstructured::new(data)).ok();
}

fn check_small_tree(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let size = input.int_in_range(1..=40_usize)?;
    let index = input.int_in_range(0..=size - 1)?;
    let old = input.int_in_range(1..=size)?;
    let mut leaves: Vec<Hash> = (0..size).map(|i| Hash::leaf(&[i as u8])).collect();
    // Equal leaves make equal subtrees, which a faulty verifier could exchange.
    if input.ratio(1, 4)? {
        leaves = vec![leaves[0]; size];
    }
    let (root, old_root) = (rfc6962::root(&leaves), rfc6962::root(&leaves[..old]));
    let mut frontier = Frontier::default();
    leaves.iter().for_each(|leaf| frontier.push(*leaf));
    assert_eq!(frontier.root(), root);
    let hash_of = |range: &std::ops::Range<u64>| {
        let subtree = |node: unanimity_protocol::tree::Subtree| {
            let first = (node.index << node.level) as usize;
            Ok::<_, ()>(rfc6962::root(&leaves[first..first + (1 << node.level)]))
        };
        range_root(range.clone(), subtree).expect("a range of the tree")
    };
    let wide = |n: usize| n as u64;

    let honest = rfc6962::path(index, &leaves);
    let planned: Vec<Hash> =
        inclusion_ranges(wide(index), wide(size)).iter().map(hash_of).collect();
    assert_eq!(planned, honest);
    let (leaf, path) = (pick(input, &leaves, leaves[index])?, forge(input, &honest, &leaves)?);
    let verifies = verify_inclusion(wide(index), wide(size), &leaf, &path, &root);
    assert_eq!(verifies, leaf == leaves[index] && path == honest);

    let honest = rfc6962::proof(old, &leaves);
    let path = forge(input, &honest, &leaves)?;
    let claimed = pick(input, &leaves, old_root)?;
    let verifies = verify_consistency(wide(old), wide(size), &claimed, &root, &path);
    if old < size {
        assert_eq!(verifies, claimed == old_root && path == honest);
        let honest = rfc6962::full_proof(old, &leaves);
        let planned: Vec<Hash> =
            consistency_ranges(wide(old), wide(size)).iter().map(hash_of).collect();
        assert_eq!(planned, honest);
        assert_eq!(consistency_roots(wide(old), wide(size), &honest), Some((old_root, root)));
    }
    let honest = rfc6962::full_proof(old, &leaves);
    let path = forge(input, &honest, &leaves)?;
    check_links(size, root, old, old_root, &path, &honest);
    Ok(())
}

/// Checks that two heads of one tree are consistent and make no evidence, and that an older head of
/// another tree makes evidence.
fn check_links(
    size: usize,
    root: Hash,
    old: usize,
    old_root: Hash,
    path: &[Hash],
    honest: &[Hash],
) {
    let (larger, smaller) = (head(size, root), head(old, old_root));
    assert_eq!(Evidence::from_heads(&smaller, &larger, path), None);
    let link = ConsistentHeads::new(larger.clone()).add(&smaller, path);
    let joins = old == size || path == honest;
    assert_eq!(link, if joins { Consistency::Consistent } else { Consistency::Unproven });
    let forked = head(old, Hash::leaf(b"another tree"));
    let path = if old == size { &[] } else { path };
    let evidence = Evidence::from_heads(&forked, &larger, path);
    assert_eq!(evidence.is_some(), joins);
    if let Some(evidence) = evidence {
        assert_eq!(Evidence::verify(&evidence.to_string(), &KEYS.log), Ok(evidence));
    }
}

fn head(size: usize, root: Hash) -> TreeHead {
    let checkpoint = Checkpoint { origin: KEYS.log.origin.clone(), size: size as u64, root };
    let note = checkpoint.sign(&KEYS.log_secret).to_string();
    TreeHead::verify(note.as_bytes(), &KEYS.log).expect("our own checkpoint")
}

fn pick(input: &mut Unstructured<'_>, hashes: &[Hash], right: Hash) -> arbitrary::Result<Hash> {
    if input.ratio(3, 4)? { Ok(right) } else { Ok(*input.choose(hashes)?) }
}

/// Returns a proof with up to three changes. New hashes are leaves of the tree.
fn forge(
    input: &mut Unstructured<'_>,
    honest: &[Hash],
    leaves: &[Hash],
) -> arbitrary::Result<Vec<Hash>> {
    let mut path = honest.to_vec();
    for _ in 0..input.int_in_range(0..=3)? {
        let at = input.int_in_range(0..=path.len())?;
        let other = *input.choose(leaves)?;
        match input.int_in_range(0..=3)? {
            0 => path.insert(at, other),
            1 if at < path.len() => drop(path.remove(at)),
            2 if at < path.len() => path[at] = other,
            _ => path.rotate_left(at),
        }
    }
    Ok(path)
}

fn check_any_size(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let (old, new): (u64, u64) = (input.arbitrary()?, input.arbitrary()?);
    let (old, new) = (old >> input.int_in_range(0..=63)?, new >> input.int_in_range(0..=63)?);
    assert!(complete_subtrees(0..new).len() <= 64);
    assert_eq!(inclusion_ranges(old, new).is_empty(), old >= new || new <= 1);
    if new <= 1 << 63 {
        assert!(inclusion_ranges(old, new).len() <= MAX_PROOF);
        assert!(consistency_ranges(old, new).len() <= MAX_PROOF);
    }
    let count = input.int_in_range(0..=MAX_PROOF)?;
    let path = vec![Hash::leaf(b"any"); count];
    let leaf = Hash::leaf(b"leaf");
    assert!(!verify_inclusion(old, new, &leaf, &path, &Hash::leaf(b"root")));
    let planned = consistency_ranges(old, new).len();
    let roots = consistency_roots(old, new, &path);
    assert_eq!(roots.is_some(), planned > 0 && planned == count, "{old} {new} {count}");
    Ok(())
}
