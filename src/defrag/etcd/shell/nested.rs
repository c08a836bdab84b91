//! Scripts within a script: what a shell runs that the script starts with `-c`.

use super::{
    Overlay, Reader,
    groups::groups,
    later::{Later, set_in_loops},
    lex::lex,
};
use crate::defrag::etcd::{
    launch::Launched,
    marks::{ONE_OF, UNKNOWN},
};

/// How many of them are followed, one in the other or one behind the other.
const MOST: usize = 4;

impl Reader<'_> {
    /// Follows the script at this word, where it mentions etcd and the programs on the way to it are the image's.
    pub(super) fn follows(&mut self, words: &[String], launched: &Launched<'_>, at: usize, overlay: &Overlay) -> bool {
        let path = self.variables.path();
        let mut through = launched.through.iter().filter_map(|at| words.get(*at));
        if through.any(|program| (self.is_brought)(program, path)) {
            return false;
        }
        let words = words.get(at..).unwrap_or_default();
        words.first().is_some_and(|script| script.contains("etcd")) && self.nested(words, overlay, launched.exports_all)
    }

    /// Follows the script that is the first of `words`, given the others. Tells whether it can be followed: it is
    /// visible, is in no loop and no function, and has the variables of the shell around it.
    fn nested(&mut self, words: &[String], overlay: &Overlay, exports_all: bool) -> bool {
        let Some((script, given)) = words.split_first() else { return false };
        let is_seen = !script.contains([UNKNOWN, ONE_OF]);
        let is_plain = !overlay.clears && self.variables.repeated == 0 && !self.variables.reads_file();
        if !is_seen || !is_plain || self.nested == MOST {
            return false;
        }
        self.nested += 1;
        let (items, is_opaque) = lex(script);
        self.script.opaque |= is_opaque;
        let outer = self.variables.enter(Later::of(&items), given, &overlay.set, exports_all);
        for name in set_in_loops(&items) {
            self.variables.doubt(name);
        }
        let frames = std::mem::take(&mut self.frames);
        let blocks = std::mem::take(&mut self.blocks);
        let groups = std::mem::replace(&mut self.groups, groups(&items));
        for (index, item) in items.iter().enumerate() {
            self.variables.now = index;
            self.take(item);
        }
        (self.frames, self.blocks, self.groups, self.defines) = (frames, blocks, groups, false);
        self.variables.leave(outer);
        true
    }
}
