//! Doubly linked lists of blocks, changed in transactions.
//!
//! A node knows the *word* that points to it, in the node before it or the list's head, so that it can leave a list without
//! knowing which list it is in.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Arena, Offset, Tx};

/// A node's links, at the beginning of the node.
#[repr(C)]
pub(crate) struct Links {
    next: AtomicU64,
    /// The place of the word that points to this node; 0 while the node is in no list.
    back: AtomicU64,
}

impl Tx<'_> {
    /// Puts the node at `node` before all others of the list that begins at `head`.
    pub(crate) fn link(&mut self, head: &AtomicU64, node: Offset) {
        let first = Offset(head.load(Ordering::Relaxed));
        let links = self.arena.links(node);
        self.set(&links.next, first.0);
        self.set(&links.back, self.arena.offset_in(head).0);
        if !first.is_none() {
            // `next` is the first word of a node.
            self.set(&self.arena.links(first).back, node.0);
        }
        self.set(head, node.0);
    }

    /// Takes a node out of its list.
    pub(crate) fn unlink(&mut self, node: Offset) {
        let links = self.arena.links(node);
        let next = Offset(links.next.load(Ordering::Relaxed));
        let back = Offset(links.back.load(Ordering::Relaxed));
        debug_assert!(!back.is_none(), "the node at {node:?} is in no list");
        self.set(self.arena.word(back), next.0);
        if !next.is_none() {
            self.set(&self.arena.links(next).back, back.0);
        }
        self.set(&links.back, 0);
    }

    /// The nodes of a list. The list may be changed only behind the node that the iterator gave last.
    pub(crate) fn nodes(&self, head: &AtomicU64) -> impl Iterator<Item = Offset> + use<'_> {
        let first = Offset(head.load(Ordering::Relaxed));
        std::iter::successors((!first.is_none()).then_some(first), |node| {
            let next = Offset(self.arena.links(*node).next.load(Ordering::Relaxed));
            (!next.is_none()).then_some(next)
        })
    }
}

impl Arena {
    fn links(&self, node: Offset) -> &Links {
        // SAFETY: two words anywhere in the arena are a valid `Links`; `at` checks the bounds (A1, A2).
        unsafe { self.at(node) }
    }
}
