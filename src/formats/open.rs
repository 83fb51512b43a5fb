//! Frames that open and close, for the formats that tell of both.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::profile::{Interner, LocationId, StackId};

/// The frames open at one moment, as a path in the tree of all paths seen: opening and closing cost the same at any depth.
#[derive(Default)]
pub(super) struct OpenFrames {
    nodes: Vec<Node>,
    children: HashMap<(Option<usize>, LocationId), usize, RandomState>,
    current: Option<usize>,
    depth: usize,
}

struct Node {
    parent: Option<usize>,
    location: LocationId,
    stack: Option<StackId>,
}

impl OpenFrames {
    pub fn depth(&self) -> usize {
        self.depth
    }

    pub fn is_empty(&self) -> bool {
        self.current.is_none()
    }

    fn current(&self) -> Option<&Node> {
        self.nodes.get(self.current?)
    }

    pub fn open(&mut self, location: LocationId) {
        let parent = self.current;
        let nodes = &mut self.nodes;
        let node = self.children.entry((parent, location)).or_insert_with(|| {
            nodes.push(Node {
                parent,
                location,
                stack: None,
            });
            nodes.len() - 1
        });
        self.current = Some(*node);
        self.depth += 1;
    }

    /// Closes the frame opened last, which should be this one.
    pub fn close(&mut self, location: LocationId) -> bool {
        self.current().is_some_and(|node| node.location == location) && self.close_last()
    }

    /// Closes the frame opened last; false if none is open.
    pub fn close_last(&mut self) -> bool {
        let Some(node) = self.current() else { return false };
        self.current = node.parent;
        self.depth -= 1;
        true
    }

    /// The stack of the frames open now; none if none is.
    pub fn stack(&mut self, interner: &mut Interner) -> Option<StackId> {
        let current = self.current?;
        if let Some(stack) = self.nodes.get(current)?.stack {
            return Some(stack);
        }
        let mut leaf_first = Vec::with_capacity(self.depth);
        let mut next = Some(current);
        while let Some(node) = next.and_then(|node| self.nodes.get(node)) {
            leaf_first.push(node.location);
            next = node.parent;
        }
        let stack = interner.stack(&leaf_first);
        self.nodes.get_mut(current)?.stack = Some(stack);
        Some(stack)
    }
}
