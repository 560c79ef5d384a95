//! Tables that translate the names of the library's blocks into the names of tensors in a checkpoint.

/// How a checkpoint stores what a block asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// As the block wants it.
    Plain,
    /// As the block wants it, and kept in float32 where the model is in float16, whose range it would leave.
    Wide,
    /// As the block wants it, and kept in float32 where the model is in half precision.
    Precise,
    /// Matrices with input and output swapped, as GPT-2's `Conv1D` stores them.
    Transposed,
    /// Rows `start..` of a tensor of `total` rows that several blocks share; of each of `groups` groups of rows, where
    /// a checkpoint stores the parts of one head after the other.
    Rows {
        /// First row, within its group.
        start: i64,
        /// Rows of the stored tensor.
        total: i64,
        /// Groups of as many rows each; 1 as a rule.
        groups: i64,
        /// Whether the stored matrix has input and output swapped.
        transposed: bool,
    },
}

#[derive(Debug, Clone)]
struct Rule {
    block: Vec<&'static str>,
    stored: &'static str,
    layout: Layout,
}

/// The names of one architecture: rules from a block's path to a stored path; the longest match wins.
///
/// A path is a list of segments with dots between; `*` stands for one segment (a layer's number), and the
/// `*`s of the stored path take the same values in order. What follows the matched part is kept, so one rule
/// covers a block's weight and bias. A path without a rule is stored under its own name.
#[derive(Debug, Clone, Default)]
pub struct NameTable {
    rules: Vec<Rule>,
    /// Names of single segments that no rule covers.
    segments: Vec<(&'static str, &'static str)>,
}

impl NameTable {
    /// A table without rules: every block is stored under its own path.
    pub fn new() -> Self {
        Self::default()
    }

    /// `block` is stored as `stored`.
    pub fn name(self, block: &'static str, stored: &'static str) -> Self {
        self.rule(block, stored, Layout::Plain)
    }

    /// Several plain names at once.
    pub fn names(self, pairs: &[(&'static str, &'static str)]) -> Self {
        pairs.iter().fold(self, |table, (block, stored)| table.name(block, stored))
    }

    /// In what no rule covers of a path, the segment `block` is stored as `stored`, wherever it stands: `(block, stored)`
    /// each.
    pub fn segments(mut self, pairs: &[(&'static str, &'static str)]) -> Self {
        self.segments.extend(pairs);
        self
    }

    /// `block` is stored as `stored`, and stays in float32 where the model is in float16.
    pub fn wide(self, block: &'static str, stored: &'static str) -> Self {
        self.rule(block, stored, Layout::Wide)
    }

    /// `block` is stored as `stored`, and stays in float32 where the model is in half precision.
    pub fn precise(self, block: &'static str, stored: &'static str) -> Self {
        self.rule(block, stored, Layout::Precise)
    }

    /// `block` is stored as `stored`, its matrix transposed.
    pub fn transposed(self, block: &'static str, stored: &'static str) -> Self {
        self.rule(block, stored, Layout::Transposed)
    }

    /// `parts` are stored one after the other in the rows of `stored`: `(block, rows)` each.
    pub fn fused(self, stored: &'static str, parts: &[(&'static str, i64)], transposed: bool) -> Self {
        self.rows(stored, 1, parts, transposed)
    }

    /// The rows of `stored` are `groups` groups (heads, say), in each of which `parts` stand one after the other:
    /// `(block, rows per group)` each.
    pub fn interleaved(self, stored: &'static str, groups: i64, parts: &[(&'static str, i64)]) -> Self {
        self.rows(stored, groups, parts, false)
    }

    fn rows(self, stored: &'static str, groups: i64, parts: &[(&'static str, i64)], transposed: bool) -> Self {
        let total = groups * parts.iter().map(|(_, rows)| rows).sum::<i64>();
        let mut start = 0;
        parts.iter().fold(self, |table, (block, rows)| {
            let layout = Layout::Rows { start, total, groups, transposed };
            start += rows;
            table.rule(block, stored, layout)
        })
    }

    fn rule(mut self, block: &'static str, stored: &'static str, layout: Layout) -> Self {
        self.rules.push(Rule { block: block.split('.').collect(), stored, layout });
        self
    }

    /// The stored path of `path`, and how it is laid out.
    pub fn resolve(&self, path: &str) -> (String, Layout) {
        let segments: Vec<&str> = path.split('.').collect();
        let best = self.rules.iter().filter(|rule| rule.matches(&segments)).max_by_key(|rule| rule.block.len());
        let (mut stored, covered, layout) = match best {
            None => (Vec::new(), 0, Layout::Plain),
            Some(rule) => (rule.apply(&segments), rule.block.len(), rule.layout),
        };
        let named =
            |segment: &&str| self.segments.iter().find(|(block, _)| block == segment).map(|(_, stored)| *stored);
        stored.extend(segments[covered..].iter().map(|segment| named(segment).unwrap_or(segment)));
        (stored.join("."), layout)
    }
}

impl Rule {
    fn matches(&self, segments: &[&str]) -> bool {
        segments.len() >= self.block.len()
            && self.block.iter().zip(segments).all(|(rule, segment)| *rule == "*" || rule == segment)
    }

    /// The stored segments of what the rule covers.
    fn apply<'a>(&'a self, segments: &[&'a str]) -> Vec<&'a str> {
        let mut stars = self.block.iter().zip(segments).filter(|(rule, _)| **rule == "*").map(|(_, segment)| *segment);
        let stored = self.stored.split('.').filter(|segment| !segment.is_empty());
        stored.map(|segment| if segment == "*" { stars.next().unwrap_or("*") } else { segment }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_rule_wins_and_stars_carry_over() {
        let table = NameTable::new().name("layers", "h").name("layers.*.norm", "h.*.ln_1").fused(
            "h.*.attn.c_attn",
            &[("layers.*.q", 4), ("layers.*.k", 2), ("layers.*.v", 2)],
            true,
        );
        assert_eq!(table.resolve("layers.3.norm.weight"), ("h.3.ln_1.weight".into(), Layout::Plain));
        assert_eq!(table.resolve("layers.3.mlp.bias"), ("h.3.mlp.bias".into(), Layout::Plain));
        assert_eq!(
            table.resolve("layers.0.k.weight"),
            ("h.0.attn.c_attn.weight".into(), Layout::Rows { start: 4, total: 8, groups: 1, transposed: true })
        );
        assert_eq!(table.resolve("wte.weight"), ("wte.weight".into(), Layout::Plain));
    }
}
