use tch::{Kind, Tensor};
use tch_transformers_native::Weight;

use crate::weights::Weights;

/// Which experts a token goes to, and what each of them counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RouterSpec {
    /// Experts to choose from.
    pub experts: i64,
    /// Experts of a token.
    pub chosen: i64,
    /// Whether the projection to one number per expert has a bias.
    pub bias: bool,
    /// Whether it is computed in float32 where the model is in half precision.
    pub wide: bool,
    /// Bound that its results approach: `cap * tanh(logits / cap)`.
    pub softcap: Option<f64>,
    /// What makes scores of them.
    pub score: Score,
    /// What the choice goes by.
    pub ranking: Ranking,
    /// Whether a number per expert is added for the choice, and for nothing else (Wang et al., 2024).
    pub correction: bool,
    /// Groups of experts of which only the best take part.
    pub groups: Option<Groups>,
    /// What the chosen experts count.
    pub weighting: Weighting,
    /// What makes those weights comparable.
    pub renormalise: Renormalise,
    /// What they are multiplied by in the end.
    pub scale: f64,
}

/// What makes a score of an expert's logit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Score {
    /// Softmax over all experts.
    Softmax,
    /// `sigmoid(x)`.
    Sigmoid,
    /// `sqrt(softplus(x))`.
    SqrtSoftplus,
}

/// What experts are ranked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ranking {
    /// Their scores.
    Scores,
    /// Their logits.
    Logits,
}

/// Groups of experts that follow each other, as many in each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Groups {
    /// Groups.
    pub count: i64,
    /// Groups that take part.
    pub kept: i64,
    /// What a group is ranked by.
    pub rank: GroupRank,
    /// What stands for the experts of the others.
    pub masked: f64,
}

/// What a group of experts is ranked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupRank {
    /// Its best expert.
    Max,
    /// Its two best, summed.
    TopTwo,
}

/// What a chosen expert counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weighting {
    /// Its score.
    Score,
    /// Its part in the softmax over the logits of those chosen.
    SelectedSoftmax,
}

/// What the weights of the chosen experts are divided by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Renormalise {
    /// Nothing.
    None,
    /// Their sum and this number.
    Sum(f64),
    /// Their sum, and no less than this number.
    SumAtLeast(f64),
    /// Their norm of this order.
    Norm(f64),
}

impl RouterSpec {
    /// The `chosen` best of `experts` by `score`, each of which counts its score.
    pub fn new(experts: i64, chosen: i64, score: Score) -> Self {
        Self {
            experts,
            chosen,
            bias: false,
            wide: false,
            softcap: None,
            score,
            ranking: Ranking::Scores,
            correction: false,
            groups: None,
            weighting: Weighting::Score,
            renormalise: Renormalise::None,
            scale: 1.0,
        }
    }

    /// The same with weights that add up to 1, where `wanted`.
    pub fn renormalised(self, wanted: bool) -> Self {
        Self { renormalise: if wanted { Renormalise::Sum(0.0) } else { Renormalise::None }, ..self }
    }
}

/// A router with its parameters.
#[derive(Debug)]
pub(super) struct Router {
    spec: RouterSpec,
    weight: Weight,
    bias: Option<Weight>,
    correction: Option<Weight>,
}

/// Where tokens go.
#[derive(Debug)]
pub(super) struct Routed {
    /// What the projection said, `[tokens, experts]`.
    pub logits: Tensor,
    /// The experts of each token, the best first, `[tokens, chosen]`.
    pub chosen: Tensor,
    /// What each of them counts, float32, `[tokens, chosen]`.
    pub weights: Tensor,
}

impl Router {
    /// Loads `weight` `[experts, hidden]` and where there are such `bias` and `correction` `[experts]`.
    pub fn load(weights: &Weights, spec: RouterSpec, hidden: i64) -> Self {
        Self {
            spec,
            weight: weights.weight("weight", &[spec.experts, hidden]),
            bias: weights.weight_if(spec.bias, "bias", &[spec.experts]),
            correction: weights.weight_if(spec.correction, "correction", &[spec.experts]),
        }
    }

    /// Routes tokens `[tokens, hidden]`.
    pub fn forward(&self, x: &Tensor) -> Routed {
        let RouterSpec { chosen, softcap, score, ranking, groups, weighting, scale, .. } = self.spec;
        let raw = self.project(x);
        let logits = raw.to_kind(Kind::Float);
        let logits = match softcap {
            Some(cap) => (logits / cap).tanh() * cap,
            None => logits,
        };
        let scores = match score {
            Score::Softmax => logits.softmax(-1, Kind::Float),
            Score::Sigmoid => logits.sigmoid(),
            Score::SqrtSoftplus => logits.softplus().sqrt(),
        };
        let ranked = match ranking {
            Ranking::Scores => &scores,
            Ranking::Logits => &logits,
        };
        let ranked = match &self.correction {
            Some(correction) => ranked + &**correction,
            None => ranked.shallow_clone(),
        };
        let ranked = match groups {
            Some(groups) => groups.mask(&ranked),
            None => ranked,
        };
        let (_, chosen) = ranked.topk(chosen, -1, true, true);
        let weights = match weighting {
            Weighting::Score => scores.gather(-1, &chosen, false),
            Weighting::SelectedSoftmax => logits.gather(-1, &chosen, false).softmax(-1, Kind::Float),
        };
        Routed { logits: raw, chosen, weights: self.spec.renormalise.apply(weights) * scale }
    }

    fn project(&self, x: &Tensor) -> Tensor {
        if self.spec.wide {
            let wide = |tensor: &Tensor| tensor.to_kind(Kind::Float);
            return wide(x).linear(&wide(&self.weight), self.bias.as_deref().map(wide));
        }
        x.linear(&self.weight, self.bias.as_deref())
    }
}

impl Groups {
    /// `ranked` (`[tokens, experts]`) with [`Groups::masked`] for the experts of the groups that do not take part.
    fn mask(&self, ranked: &Tensor) -> Tensor {
        let size = ranked.size();
        let grouped = ranked.view([size[0], self.count, -1]);
        let rank = match self.rank {
            GroupRank::Max => grouped.amax(-1, false),
            GroupRank::TopTwo => grouped.topk(2, -1, true, false).0.sum_dim_intlist(-1, false, None),
        };
        let (_, kept) = rank.topk(self.kept, -1, true, false);
        let dropped = rank.ones_like().scatter_value(-1, &kept, 0).to_kind(Kind::Bool);
        grouped.masked_fill(&dropped.unsqueeze(-1), self.masked).view(&size[..])
    }
}

impl Renormalise {
    /// Divides `weights` (`[tokens, chosen]`).
    fn apply(self, weights: Tensor) -> Tensor {
        let sum = |weights: &Tensor| weights.sum_dim_intlist(-1, true, None);
        match self {
            Self::None => weights,
            Self::Sum(more) => &weights / (sum(&weights) + more),
            Self::SumAtLeast(least) => &weights / sum(&weights).clamp_min(least),
            Self::Norm(order) => &weights / weights.norm_scalaropt_dim(order, [-1], true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A router whose logits are its inputs.
    fn router(spec: RouterSpec, correction: &[f32]) -> Router {
        let weight = Tensor::eye(spec.experts, (Kind::Float, tch::Device::Cpu));
        let correction = (!correction.is_empty()).then(|| Weight::new(Tensor::from_slice(correction)));
        Router { spec, weight: Weight::new(weight), bias: None, correction }
    }

    fn route(router: &Router, logits: &[f32]) -> (Vec<i64>, Vec<f64>) {
        let routed = router.forward(&Tensor::from_slice(logits).unsqueeze(0));
        let weights: Vec<f32> = Vec::try_from(routed.weights.flatten(0, 1)).unwrap();
        (Vec::try_from(routed.chosen.flatten(0, 1)).unwrap(), weights.into_iter().map(f64::from).collect())
    }

    fn close(found: &[f64], wanted: &[f64]) {
        assert_eq!(found.len(), wanted.len());
        for (found, wanted) in std::iter::zip(found, wanted) {
            assert!((found - wanted).abs() < 1e-6, "{found} instead of {wanted}");
        }
    }

    fn sigmoid(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }

    const LOGITS: [f32; 6] = [0.5, -1.0, 2.0, 0.25, -0.5, 1.0];

    #[test]
    fn scores() {
        let softmax = RouterSpec::new(6, 2, Score::Softmax);
        let sum: f64 = LOGITS.iter().map(|logit| f64::from(*logit).exp()).sum();
        let (chosen, weights) = route(&router(softmax, &[]), &LOGITS);
        assert_eq!(chosen, [2, 5]);
        close(&weights, &[2f64.exp() / sum, 1f64.exp() / sum]);

        let (_, selected) =
            route(&router(RouterSpec { weighting: Weighting::SelectedSoftmax, ..softmax }, &[]), &LOGITS);
        let (_, renormalised) = route(&router(softmax.renormalised(true), &[]), &LOGITS);
        close(&selected, &[sigmoid(1.0), sigmoid(-1.0)]);
        close(&renormalised, &selected);

        let (_, weights) = route(&router(RouterSpec::new(6, 1, Score::SqrtSoftplus), &[]), &LOGITS);
        close(&weights, &[(2f64.exp() + 1.0).ln().sqrt()]);
        let capped = RouterSpec { softcap: Some(1.5), scale: 3.0, ..RouterSpec::new(6, 1, Score::Sigmoid) };
        let (_, weights) = route(&router(capped, &[]), &LOGITS);
        close(&weights, &[3.0 * sigmoid(1.5 * (2.0f64 / 1.5).tanh())]);
    }

    #[test]
    fn a_correction_chooses_and_does_not_count() {
        let correction = [0.0, 9.0, 0.0, 0.0, 8.0, 0.0];
        for ranking in [Ranking::Scores, Ranking::Logits] {
            let spec = RouterSpec { correction: true, ranking, ..RouterSpec::new(6, 2, Score::Sigmoid) };
            let (chosen, weights) = route(&router(spec, &correction), &LOGITS);
            assert_eq!(chosen, [1, 4]);
            close(&weights, &[sigmoid(-1.0), sigmoid(-0.5)]);
        }
    }

    #[test]
    fn groups_are_ranked_by_their_best() {
        let groups = Groups { count: 3, kept: 1, rank: GroupRank::TopTwo, masked: f64::NEG_INFINITY };
        let spec = |rank| RouterSpec {
            groups: Some(Groups { rank, ..groups }),
            ranking: Ranking::Logits,
            ..RouterSpec::new(6, 2, Score::Sigmoid)
        };
        let logits = [1.0, 1.5, 2.0, -3.0, 0.0, 0.5];
        assert_eq!(route(&router(spec(GroupRank::TopTwo), &[]), &logits).0, [1, 0]);
        assert_eq!(route(&router(spec(GroupRank::Max), &[]), &logits).0, [2, 3]);
        // With 0 in place of what is masked, a negative expert loses against it.
        let masked =
            RouterSpec { groups: Some(Groups { rank: GroupRank::Max, masked: 0.0, ..groups }), ..spec(GroupRank::Max) };
        assert_ne!(route(&router(masked, &[]), &logits).0[1], 3);
    }

    #[test]
    fn weights_are_renormalised() {
        let weights = || Tensor::from_slice(&[0.3f64, 0.4]).unsqueeze(0);
        let of = |how: Renormalise| Vec::<f64>::try_from(how.apply(weights()).flatten(0, 1)).unwrap();
        close(&of(Renormalise::None), &[0.3, 0.4]);
        close(&of(Renormalise::Sum(0.3)), &[0.3, 0.4]);
        close(&of(Renormalise::SumAtLeast(0.1)), &[0.3 / 0.7, 0.4 / 0.7]);
        close(&of(Renormalise::SumAtLeast(2.0)), &[0.15, 0.2]);
        close(&of(Renormalise::Norm(2.0)), &[0.6, 0.8]);
    }
}
