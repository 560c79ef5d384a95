//! The beams of one prompt: which go on, which have ended, and whether going on can be of use.

use super::EarlyStopping;

/// What the score of a beam is at most that has not begun yet, or does not count any more.
pub(super) const NEVER: f32 = -1e9;

/// When beams are good, and when there are enough of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    /// Beams that go on, and that are kept of those that have ended.
    pub beams: usize,
    pub early_stopping: EarlyStopping,
    pub length_penalty: f64,
    /// New tokens that a beam has at most.
    pub most: usize,
}

impl Rule {
    /// The score of a beam of `length` new tokens, the logarithm of whose probability is `sum`.
    fn score(&self, sum: f32, length: usize) -> f32 {
        sum / (length as f64).powf(self.length_penalty) as f32
    }
}

/// New tokens after a prompt.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Beam {
    pub tokens: Vec<i64>,
    /// The logarithm of its probability while it goes on; once it has ended, that by its length.
    pub score: f32,
}

/// One more token for a beam.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    /// The beam.
    pub parent: usize,
    pub token: i64,
    /// The logarithm of the probability of both.
    pub score: f32,
    /// Whether the beam ends with it.
    pub ends: bool,
}

/// The beams of one prompt.
#[derive(Debug)]
pub(super) struct Search {
    /// Those that go on, the best first.
    pub running: Vec<Beam>,
    /// Those that have ended, the best first.
    pub ended: Vec<Beam>,
    /// Whether one that goes on may become better than the worst of the ended ones.
    pub improvable: bool,
    rule: Rule,
}

impl Search {
    /// Beams without tokens, of which the first one counts: all are equal.
    pub fn new(rule: Rule) -> Self {
        let beam = |index| Beam { tokens: Vec::new(), score: if index == 0 { 0.0 } else { NEVER } };
        Self { running: (0..rule.beams).map(beam).collect(), ended: Vec::new(), improvable: true, rule }
    }

    /// Whether as many beams have ended as are kept.
    pub fn is_full(&self) -> bool {
        self.ended.len() >= self.rule.beams
    }

    /// Whether a full search is over.
    pub fn stops_when_full(&self) -> bool {
        self.rule.early_stopping == EarlyStopping::Full
    }

    /// Goes on with the best of `candidates`, which are the best for all beams or drawn, in that order. Those that end are
    /// kept where they are among the first.
    pub fn advance(&mut self, candidates: &[Candidate]) -> Vec<usize> {
        let length = self.running.first().map_or(0, |beam| beam.tokens.len()) + 1;
        let longer = |candidate: &Candidate, score| {
            let mut tokens = self.running[candidate.parent].tokens.clone();
            tokens.push(candidate.token);
            Beam { tokens, score }
        };
        let mut next: Vec<(f32, &Candidate)> = candidates
            .iter()
            .map(|candidate| (candidate.score + if candidate.ends { NEVER } else { 0.0 }, candidate))
            .collect();
        next.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        next.truncate(self.rule.beams);
        let running = next.iter().map(|(score, candidate)| longer(candidate, *score)).collect();
        if self.improvable && !(self.is_full() && self.stops_when_full()) {
            let first = candidates.iter().take(self.rule.beams).filter(|candidate| candidate.ends);
            let ended: Vec<Beam> =
                first.map(|candidate| longer(candidate, self.rule.score(candidate.score, length))).collect();
            self.ended.extend(ended);
            self.ended.sort_by(|a, b| b.score.total_cmp(&a.score));
            self.ended.truncate(self.rule.beams);
        }
        self.running = running;
        self.improvable &= self.best_possible(length) > self.worst();
        next.iter().map(|(_, candidate)| candidate.parent).collect()
    }

    /// The score that a beam may have that goes on after `length` tokens: a guess, where longer ones are favoured.
    fn best_possible(&self, length: usize) -> f32 {
        let favours_long = self.rule.early_stopping == EarlyStopping::Never && self.rule.length_penalty > 0.0;
        let length = if favours_long { self.rule.most } else { length };
        self.running.first().map_or(NEVER, |beam| self.rule.score(beam.score, length))
    }

    /// The score to exceed.
    fn worst(&self) -> f32 {
        if self.is_full() { self.ended.last().map_or(NEVER, |beam| beam.score) } else { NEVER }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(early_stopping: EarlyStopping, length_penalty: f64) -> Search {
        Search::new(Rule { beams: 2, early_stopping, length_penalty, most: 8 })
    }

    fn candidates(given: &[(usize, i64, f32, bool)]) -> Vec<Candidate> {
        let candidate = |(parent, token, score, ends): &(usize, i64, f32, bool)| Candidate {
            parent: *parent,
            token: *token,
            score: *score,
            ends: *ends,
        };
        given.iter().map(candidate).collect()
    }

    #[test]
    fn beams_that_end_leave_others_to_go_on() {
        let mut search = search(EarlyStopping::Satisfied, 1.0);
        let parents = search.advance(&candidates(&[
            (0, 7, -1.0, true),
            (0, 3, -2.0, false),
            (0, 4, -3.0, false),
            (0, 7, -4.0, true),
        ]));
        assert_eq!(parents, [0, 0]);
        assert_eq!(search.running.iter().map(|beam| beam.tokens[0]).collect::<Vec<_>>(), [3, 4]);
        // The last one ends, and is not among the first two.
        assert_eq!(search.ended, [Beam { tokens: vec![7], score: -1.0 }]);
        assert!(search.improvable && !search.is_full());
        let parents = search.advance(&candidates(&[(1, 7, -3.5, true), (0, 5, -3.9, false), (0, 6, -4.1, false)]));
        assert_eq!(parents, [0, 0]);
        assert_eq!(search.ended[1], Beam { tokens: vec![4, 7], score: -1.75 });
        // -3.9 of two tokens is worse than the worst ended one.
        assert!(search.is_full() && !search.improvable);
    }

    #[test]
    fn what_longer_beams_may_become_keeps_a_search_going() {
        for (early_stopping, improvable) in [(EarlyStopping::Satisfied, false), (EarlyStopping::Never, true)] {
            let mut search = search(early_stopping, 1.0);
            search.advance(&candidates(&[
                (0, 7, -1.0, true),
                (0, 8, -1.1, true),
                (0, 3, -2.0, false),
                (0, 4, -3.0, false),
            ]));
            assert!(search.is_full());
            assert_eq!(search.improvable, improvable, "{early_stopping:?}");
        }
    }

    #[test]
    fn a_full_search_takes_no_more_where_it_stops_early() {
        let mut search = search(EarlyStopping::Full, -1.0);
        search.advance(&candidates(&[
            (0, 7, -1.0, true),
            (0, 8, -1.1, true),
            (0, 3, -1.2, false),
            (0, 4, -3.0, false),
        ]));
        let ended = search.ended.clone();
        search.advance(&candidates(&[(0, 7, -0.1, true), (0, 3, -2.0, false), (1, 4, -3.0, false)]));
        assert_eq!(search.ended, ended);
    }
}
