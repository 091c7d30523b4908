//! Proofs that an entry is in a tree, and that one tree is the beginning of another.
//!
//! Making a proof needs hashes from the store: a [`Plan`] says which, and puts them together.
//! After RFC 6962, 2.1.1 and 2.1.2; checked as in RFC 9162, 2.1.3.2 and 2.1.4.2.

use std::ops::Range;

use super::Hash;
use super::tree::{STEP, fold};

/// Hashes to be read: `count` from `first` on, of leaves (level 0) or of stored nodes of that level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// 0, or the level of a stored [`super::Node`].
    pub level: u32,
    /// The first index at that level.
    pub first: u64,
    /// How many; a power of two.
    pub count: u64,
}

/// What has to be read for a proof. Each of its hashes comes from one or more spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan(Vec<Vec<Span>>);

impl Plan {
    /// The proof that leaf `index` is in the tree of `size` leaves. `None` when it cannot be.
    pub fn inclusion(index: u64, size: u64) -> Option<Self> {
        if index >= size {
            return None;
        }
        let (mut at, mut ranges) = (0..size, Vec::new());
        while at.end - at.start > 1 {
            let (left, right) = split(&at);
            let inside = left.contains(&index);
            ranges.push(if inside { right.clone() } else { left.clone() });
            at = if inside { left } else { right };
        }
        Some(Self::of(ranges))
    }

    /// The proof that the tree of `old` leaves is the beginning of the tree of `new` leaves. `None`
    /// when it cannot be, or when there is nothing to prove it from (`old` is 0).
    pub fn consistency(old: u64, new: u64) -> Option<Self> {
        if old == 0 || old > new {
            return None;
        }
        let (mut at, mut ranges) = (0..new, Vec::new());
        while at.end != old {
            let (left, right) = split(&at);
            let inside = old <= left.end;
            ranges.push(if inside { right.clone() } else { left.clone() });
            at = if inside { left } else { right };
        }
        // The verifier knows the old root; any smaller part of the old tree it must be given.
        if at.start != 0 {
            ranges.push(at);
        }
        Some(Self::of(ranges))
    }

    fn of(mut ranges: Vec<Range<u64>>) -> Self {
        ranges.reverse();
        Self(ranges.into_iter().map(spans).collect())
    }

    /// What to read, in the order in which [`Plan::finish`] wants it.
    pub fn spans(&self) -> impl Iterator<Item = Span> {
        self.0.iter().flatten().copied()
    }

    /// The proof from the hashes of each span. `None` when a span came back with too few or too many.
    pub fn finish(&self, read: impl IntoIterator<Item = Vec<Hash>>) -> Option<Vec<Hash>> {
        let mut read = read.into_iter();
        let mut root = |span: &Span| perfect(read.next()?, span.count);
        self.0.iter().map(|spans| fold(&spans.iter().map(&mut root).collect::<Option<Vec<Hash>>>()?)).collect()
    }
}

/// Splits a range as the tree does: the left part is the largest power of two that is not all of it.
fn split(range: &Range<u64>) -> (Range<u64>, Range<u64>) {
    let length = range.end - range.start;
    let left = 1 << (length - 1).ilog2();
    (range.start..range.start + left, range.start + left..range.end)
}

/// The complete subtrees of a range, largest first, each as a run of stored hashes.
fn spans(range: Range<u64>) -> Vec<Span> {
    let (mut first, mut out) = (range.start, Vec::new());
    while first < range.end {
        let log = (range.end - first).ilog2();
        let level = log / STEP * STEP;
        out.push(Span { level, first: first >> level, count: 1 << (log - level) });
        first += 1 << log;
    }
    out
}

/// The root of a complete subtree.
fn perfect(mut hashes: Vec<Hash>, count: u64) -> Option<Hash> {
    if hashes.len() as u64 != count {
        return None;
    }
    while hashes.len() > 1 {
        hashes = hashes.chunks_exact(2).map(|pair| Hash::node(pair[0], pair[1])).collect();
    }
    hashes.pop()
}

/// Whether `proof` shows that `leaf` is at `index` in the tree of `size` leaves with this root.
pub fn includes(leaf: Hash, index: u64, size: u64, proof: &[Hash], root: Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut at, mut last, mut hash) = (index, size - 1, leaf);
    for other in proof {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            hash = Hash::node(*other, hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = Hash::node(hash, *other);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && hash == root
}

/// Whether `proof` shows that the tree of `old` leaves with one root is the beginning of the tree of
/// `new` leaves with the other.
pub fn extends(old: u64, old_root: Hash, new: u64, new_root: Hash, proof: &[Hash]) -> bool {
    if old == 0 || old > new {
        return false;
    }
    if old == new {
        return proof.is_empty() && old_root == new_root;
    }
    let mut rest = proof.iter().copied();
    let first = if old.is_power_of_two() { Some(old_root) } else { rest.next() };
    let Some(first) = first else { return false };
    let (mut at, mut last) = (old - 1, new - 1);
    while at & 1 == 1 {
        at >>= 1;
        last >>= 1;
    }
    let (mut old_hash, mut new_hash) = (first, first);
    for other in rest {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            old_hash = Hash::node(other, old_hash);
            new_hash = Hash::node(other, new_hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = Hash::node(new_hash, other);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && old_hash == old_root && new_hash == new_root
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::{Node, Tree};
    use super::*;

    /// A tree with everything that a store keeps of it.
    #[derive(Default)]
    pub struct Kept {
        pub roots: Vec<Hash>,
        hashes: BTreeMap<(u32, u64), Hash>,
    }

    impl Kept {
        pub fn of(leaves: impl IntoIterator<Item = Hash>) -> Self {
            let (mut tree, mut kept) = (Tree::default(), Self::default());
            kept.roots.push(tree.root());
            for (index, leaf) in leaves.into_iter().enumerate() {
                kept.hashes.insert((0, index as u64), leaf);
                tree.append(leaf, |Node { level, index, hash }| {
                    kept.hashes.insert((level, index), hash);
                });
                kept.roots.push(tree.root());
            }
            kept
        }

        pub fn prove(&self, plan: &Plan) -> Vec<Hash> {
            let read = |span: Span| (span.first..span.first + span.count).map(|i| self.hashes[&(span.level, i)]).collect();
            plan.finish(plan.spans().map(read)).expect("everything was stored")
        }
    }

    fn leaves(count: u64) -> impl Iterator<Item = Hash> {
        (0..count).map(|i| Hash::leaf(&i.to_be_bytes()))
    }

    // Breaks when a proof that RFC 6962 gives as its own example comes out differently.
    #[test]
    fn proofs_are_those_of_rfc_6962() {
        let tree = Kept::of(leaves(7));
        // The root over a range of leaves; RFC 6962 draws these as nodes a to l.
        let over = |range: Range<usize>| Kept::of(leaves(7).skip(range.start).take(range.len())).roots[range.len()];
        let inclusion = |index| tree.prove(&Plan::inclusion(index, 7).expect("inside"));
        assert_eq!(inclusion(0), [over(1..2), over(2..4), over(4..7)]);
        assert_eq!(inclusion(3), [over(2..3), over(0..2), over(4..7)]);
        assert_eq!(inclusion(4), [over(5..6), over(6..7), over(0..4)]);
        assert_eq!(inclusion(6), [over(4..6), over(0..4)]);
        let consistency = |old| tree.prove(&Plan::consistency(old, 7).expect("smaller"));
        assert_eq!(consistency(3), [over(2..3), over(3..4), over(0..2), over(4..7)]);
        assert_eq!(consistency(4), [over(4..7)]);
        assert_eq!(consistency(6), [over(4..6), over(6..7), over(0..4)]);
    }

    // Breaks when any proof of a small tree fails, or proves another leaf, place or tree.
    #[test]
    fn every_proof_of_every_small_tree_holds_and_proves_only_itself() {
        let tree = Kept::of(leaves(24));
        for size in 1..=24u64 {
            for (index, leaf) in leaves(size).enumerate() {
                let (index, root) = (index as u64, tree.roots[size as usize]);
                let proof = tree.prove(&Plan::inclusion(index, size).expect("inside"));
                assert!(includes(leaf, index, size, &proof, root), "{index} in {size}");
                assert!(!includes(Hash::ZERO, index, size, &proof, root));
                assert!(!includes(leaf, index, size, &proof, tree.roots[size as usize - 1]));
                assert!(size == 1 || !includes(leaf, (index + 1) % size, size, &proof, root), "{index} in {size}");
                assert!(!includes(leaf, index, size, &[proof.as_slice(), &[Hash::ZERO]].concat(), root));
            }
            for old in 1..=size {
                let (old_root, root) = (tree.roots[old as usize], tree.roots[size as usize]);
                let proof = tree.prove(&Plan::consistency(old, size).expect("smaller"));
                assert!(extends(old, old_root, size, root, &proof), "{old} to {size}");
                assert!(!extends(old, Hash::ZERO, size, root, &proof), "{old} to {size}");
                assert!(!extends(old, old_root, size, Hash::ZERO, &proof), "{old} to {size}");
                assert!(proof.is_empty() || !extends(old, old_root, size, root, &proof[1..]), "{old} to {size}");
            }
        }
        assert_eq!(Plan::inclusion(3, 3), None);
        assert_eq!(Plan::consistency(4, 3), None);
        assert_eq!(Plan::consistency(0, 3), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]
        // Breaks when proofs over stored inner nodes (256 leaves and more) do not hold.
        #[test]
        fn proofs_of_larger_trees_hold(size in 200u64..1_400, index in 0u64..1_400, old in 1u64..1_400) {
            let (index, old) = (index % size, 1 + old % size);
            let tree = Kept::of(leaves(size));
            let root = tree.roots[size as usize];
            let plan = Plan::inclusion(index, size).expect("inside");
            let leaf = Hash::leaf(&index.to_be_bytes());
            prop_assert!(includes(leaf, index, size, &tree.prove(&plan), root));
            prop_assert!(plan.spans().map(|s| s.count).sum::<u64>() < 2 * 256 + 16);
            let proof = tree.prove(&Plan::consistency(old, size).expect("smaller"));
            prop_assert!(extends(old, tree.roots[old as usize], size, root, &proof));
        }
    }
}
