//! How far the roster has come, category by category.

use std::collections::BTreeMap;

use crate::{Category, Level, Scan};

/// How many architectures of a category reach each level that needs no test run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// The category.
    pub category: Category,
    /// How many the first milestone counts.
    pub target: Option<usize>,
    /// How many files there are.
    pub declared: usize,
    /// How many reach [`Level::Syntax`].
    pub syntax: usize,
    /// How many reach [`Level::Structure`] too.
    pub structure: usize,
    /// How many reach [`Level::Tasks`] too.
    pub tasks: usize,
}

impl Status {
    /// The share of the target, from 0 to 1, that `count` is; above 1 beyond it. None without a target.
    pub fn coverage(&self, count: usize) -> Option<f64> {
        self.target.map(|target| count as f64 / target as f64)
    }
}

/// The status of every category.
pub fn status(scan: &Scan) -> Vec<Status> {
    let mut lowest: BTreeMap<&str, Level> = BTreeMap::new();
    for mistake in &scan.mistakes {
        let level = lowest.entry(&mistake.file).or_insert(mistake.level);
        *level = mistake.level.min(*level);
    }
    let count = |category: Category, level: Level| {
        (scan.files.iter())
            .filter(|(file, of)| *of == category && lowest.get(&**file).is_none_or(|failed| *failed > level))
            .count()
    };
    (Category::ALL.into_iter())
        .map(|category| Status {
            category,
            target: category.target(),
            declared: scan.files.iter().filter(|(_, of)| *of == category).count(),
            syntax: count(category, Level::Syntax),
            structure: count(category, Level::Structure),
            tasks: count(category, Level::Tasks),
        })
        .collect()
}
