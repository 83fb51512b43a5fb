//! The call tree of many stacks, some frames to a node.
//!
//! Stacks mostly differ in a few frames, or in all but the first few. So what a stack has in common with the one before it is not
//! looked at again; and what only one of them goes through is not made nodes of.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::counting;
use super::places::Places;
use crate::profile::{Dictionary, Id, LocationId, StackId, Table};

/// What the frames of a node are called, from the root on, in as many bits each as names need; zeros where a stack ends.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Names(u64, u64);

/// Frames that follow those of their parent, and what they are called.
#[derive(Clone, Copy, Default)]
pub(super) struct Node {
    names: Names,
    parent: NodeId,
    /// The stack that alone goes on from here, of whose further frames no nodes are made.
    only: StackId,
    /// The node at which it ends since another went on from here as well.
    moved: NodeId,
}

type NodeId = Id<Node>;

const ROOT: NodeId = Id::UNSET;

/// The tree, to which paths are added.
pub(super) struct Tree<'a> {
    d: &'a Dictionary,
    places: &'a Places,
    /// Bits of a name.
    bits: u32,
    /// Frames of a word of a node.
    width: usize,
    nodes: Table<Node>,
    known: HashTable<NodeId>,
    hasher: RandomState,
    /// The stack that was added last, and the nodes on its way but for one at which it ends before that is full.
    before: StackId,
    trail: Vec<NodeId>,
    /// The sums of what its frames say up to each node.
    said: Vec<u64>,
}

/// Where the path of a stack ended.
#[derive(Clone, Copy)]
pub(super) struct End {
    pub(super) node: NodeId,
    /// The hash of all that its frames say.
    pub(super) said: u64,
}

impl<'a> Tree<'a> {
    /// An empty one to which so many stacks are to be added.
    pub(super) fn new(d: &'a Dictionary, places: &'a Places, stacks: usize) -> Self {
        let bits = u32::BITS - places.last_name().leading_zeros();
        Self {
            d,
            places,
            bits,
            width: (u64::BITS / bits) as usize,
            nodes: Table::with_capacity(stacks),
            known: HashTable::with_capacity(stacks),
            hasher: RandomState::default(),
            before: Id::UNSET,
            trail: Vec::new(),
            said: Vec::new(),
        }
    }

    /// Adds the path of a stack.
    pub(super) fn add(&mut self, stack: StackId) -> End {
        let frames = &self.d.stacks[stack];
        let common = common(frames, &self.d.stacks[self.before]) / self.frames();
        self.before = stack;
        self.trail.truncate(common);
        self.said.truncate(common);
        let node = self.descend(stack, frames);
        let said = self.said(frames);
        End { node, said }
    }

    /// How many frames make a node.
    fn frames(&self) -> usize {
        2 * self.width
    }

    /// The node at which a path ends.
    fn descend(&mut self, stack: StackId, frames: &[LocationId]) -> NodeId {
        let mut node = self.trail.last().copied().unwrap_or(ROOT);
        loop {
            let only = self.nodes[node].only;
            if only.is_set() {
                match self.part(&self.d.stacks[only], frames) {
                    Some(depth) => node = self.unfold(node, only, depth),
                    None => return node,
                }
            }
            let names = self.names_at(frames, self.trail.len());
            let (child, is_new) = self.child(node, names);
            if self.is_end(names) {
                return child;
            }
            self.trail.push(child);
            if is_new {
                self.change(child, |node| node.only = stack);
                return child;
            }
            node = child;
        }
    }

    /// At which depth two paths part that are the same up to here; none if they never do.
    fn part(&self, one: &[LocationId], other: &[LocationId]) -> Option<usize> {
        let mut depth = self.trail.len();
        loop {
            let names = self.names_at(one, depth);
            if names != self.names_at(other, depth) {
                return Some(depth);
            }
            if self.is_end(names) {
                return None;
            }
            depth += 1;
        }
    }

    /// Makes nodes of the way of the only stack that went on from a node, down to a depth from which on another goes elsewhere. The last that they have in
    /// common.
    fn unfold(&mut self, from: NodeId, only: StackId, depth: usize) -> NodeId {
        let frames = &self.d.stacks[only];
        let mut node = from;
        while self.trail.len() < depth {
            (node, _) = self.child(node, self.names_at(frames, self.trail.len()));
            self.trail.push(node);
        }
        let names = self.names_at(frames, depth);
        let (end, _) = self.child(node, names);
        if !self.is_end(names) {
            self.change(end, |end| end.only = only);
        }
        self.change(from, |from| {
            from.only = Id::UNSET;
            from.moved = end;
        });
        node
    }

    /// The node of these names below another, and whether it was made for that.
    fn child(&mut self, parent: NodeId, names: Names) -> (NodeId, bool) {
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        let hash = |parent: NodeId, names: Names| {
            let mut hash = hasher.build_hasher();
            hash.write_u64(names.0);
            hash.write_u64(names.1);
            hash.write_u32(parent.raw());
            hash.finish()
        };
        let is_it = |id: &NodeId| (nodes[*id].parent, nodes[*id].names) == (parent, names);
        let rehash = |id: &NodeId| hash(nodes[*id].parent, nodes[*id].names);
        match self.known.entry(hash(parent, names), is_it, rehash) {
            Entry::Occupied(found) => (*found.get(), false),
            Entry::Vacant(free) => {
                let id = self.nodes.push(Node {
                    parent,
                    names,
                    ..Node::default()
                });
                free.insert(id);
                (id, true)
            }
        }
    }

    fn change(&mut self, node: NodeId, change: impl FnOnce(&mut Node)) {
        if let Some(node) = self.nodes.rows_mut().get_mut(node.index()) {
            change(node);
        }
    }

    /// What the frames at a depth, counted in nodes, are called.
    fn names_at(&self, frames: &[LocationId], depth: usize) -> Names {
        let word = |end: usize| {
            let frames = frames.get(end.saturating_sub(self.width)..end).unwrap_or_default();
            let missing = (self.width - frames.len()) as u32;
            let name = |word: u64, id: &LocationId| word << self.bits | u64::from(self.places.name(*id));
            let names = frames.iter().rev().fold(0, name);
            names.unbounded_shl(self.bits * missing)
        };
        let end = frames.len().saturating_sub(depth * self.frames());
        Names(word(end), word(end.saturating_sub(self.width)))
    }

    /// Whether a stack ends within these frames.
    fn is_end(&self, names: Names) -> bool {
        names.1 & ((1 << self.bits) - 1) == 0
    }

    /// The hash of all that the frames of the last stack say.
    fn said(&mut self, frames: &[LocationId]) -> u64 {
        let mut nodes = frames.rchunks_exact(self.frames());
        let (known, size) = (self.said.len(), self.frames());
        for (frames, depth) in nodes.by_ref().zip(0..).skip(known) {
            let sum = self.said.last().copied().unwrap_or_default();
            self.said.push(sum.wrapping_add(self.places.said(frames, depth * size)));
        }
        let sum = self.said.last().copied().unwrap_or_default();
        let rest = nodes.remainder();
        sum.wrapping_add(self.places.said(rest, frames.len() - rest.len()))
    }

    /// Of each node its place in the order of the tree: parents before their children, and these by name. Of a node from which a stack
    /// moved on, that at which it ends.
    pub(super) fn places(&self) -> Vec<u32> {
        let nodes = self.nodes.rows();
        let mut sizes = vec![1u32; nodes.len()];
        // a child has a higher id than its parent
        for (at, node) in nodes.iter().enumerate().skip(1).rev() {
            let size = sizes.get(at).copied().unwrap_or_default();
            if let Some(parent) = sizes.get_mut(node.parent.index()) {
                *parent += size;
            }
        }
        let mut places = vec![0; nodes.len()];
        for children in self.by_parent().chunk_by_mut(|a, b| a.parent == b.parent) {
            children.sort_unstable_by_key(|child| child.names);
            let parent = children.first().map_or(ROOT, |child| child.parent);
            let mut place = places.get(parent.index()).copied().unwrap_or_default() + 1;
            for child in children {
                if let Some(slot) = places.get_mut(child.id as usize) {
                    *slot = place;
                }
                place += sizes.get(child.id as usize).copied().unwrap_or_default();
            }
        }
        for (at, node) in nodes.iter().enumerate().rev().filter(|(_, node)| node.moved.is_set()) {
            let moved = places.get(node.moved.index()).copied().unwrap_or_default();
            if let Some(slot) = places.get_mut(at) {
                *slot = moved;
            }
        }
        places
    }

    /// All nodes but the root, those of one parent together.
    fn by_parent(&self) -> Vec<Child> {
        let nodes = self.nodes.rows().get(1..).unwrap_or_default();
        let parents: Vec<u32> = nodes.iter().map(|node| node.parent.raw()).collect();
        let child = |at: u32| {
            nodes.get(at as usize).map(|node| Child {
                names: node.names,
                parent: node.parent,
                id: at + 1,
            })
        };
        counting::sorted(&parents).into_iter().filter_map(child).collect()
    }
}

struct Child {
    names: Names,
    parent: NodeId,
    id: u32,
}

/// How many frames from the root on two stacks have in common.
fn common(one: &[LocationId], other: &[LocationId]) -> usize {
    let eights = one
        .as_rchunks::<8>()
        .1
        .iter()
        .rev()
        .zip(other.as_rchunks::<8>().1.iter().rev());
    // compared as numbers all eight of them take one step
    let same = 8 * eights
        .take_while(|(one, other)| one.map(Id::raw) == other.map(Id::raw))
        .count();
    let further = one.iter().rev().zip(other.iter().rev()).skip(same);
    same + further.take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::profile::{Function, Line, Location};

    /// Stacks of few functions, of which many begin alike and some are the same; the numbers of their functions from the root on.
    fn paths() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let from_here = (
            any::<prop::sample::Index>(),
            0usize..40,
            prop::collection::vec(0u8..3, 0..24),
        );
        prop::collection::vec(from_here, 1..60).prop_map(|drafts| {
            let mut paths: Vec<Vec<u8>> = vec![Vec::new()];
            for (other, shared, more) in drafts {
                let other = other.get(&paths);
                let mut path = other[..shared.min(other.len())].to_vec();
                path.extend(more);
                paths.push(path);
            }
            paths
        })
    }

    proptest! {
        #[test]
        fn prop_places_are_in_the_order_of_paths(paths in paths(), bits in 3u32..=32) {
            let mut d = Dictionary::default();
            let mut locations = Vec::new();
            // each function at two lines
            for line in 0..6 {
                let name = d.strings.push(&(line / 2).to_string());
                let function = d.functions.push(Function { name, ..Function::default() });
                let line = Line { function, line, column: 0 };
                locations.push(d.push_location(Location::default(), &[line]));
            }
            let stacks: Vec<StackId> = paths.iter().enumerate().map(|(n, path)| {
                let lines = path.iter().enumerate().map(|(depth, of)| 2 * *of as usize + (n + depth) % 2);
                let mut frames: Vec<LocationId> = lines.map(|line| locations[line]).collect();
                frames.reverse();
                d.stacks.push(&frames)
            }).collect();
            let places = Places::of(&d);
            let mut tree = Tree::new(&d, &places, stacks.len());
            // as if there were more names, so that stacks go through several nodes
            (tree.bits, tree.width) = (bits, (u64::BITS / bits) as usize);
            let ends: Vec<End> = stacks.iter().map(|stack| tree.add(*stack)).collect();
            let ends: Vec<(u32, u64)> = {
                let nodes = tree.places();
                ends.iter().map(|end| (nodes[end.node.index()], end.said)).collect()
            };
            let named = |at: usize| d.stacks[stacks[at]].iter().rev().map(|id| places.name(*id)).collect::<Vec<_>>();
            for a in 0..paths.len() {
                prop_assert_eq!(ends[a].1, places.said(&d.stacks[stacks[a]], 0));
                for b in 0..paths.len() {
                    prop_assert_eq!(ends[a].0.cmp(&ends[b].0), named(a).cmp(&named(b)), "{:?} {:?}", paths[a], paths[b]);
                }
            }
        }
    }
}
