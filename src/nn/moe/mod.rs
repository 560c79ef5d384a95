//! Mixtures of experts (Shazeer et al., 2017): a router sends each token to a few of many feed-forward networks.

mod balance;
mod experts;
mod router;

pub use balance::load_balance;
pub use experts::Storage;
pub use router::{GroupRank, Groups, Ranking, Renormalise, RouterSpec, Score, Weighting};

use experts::Experts;
use router::Router;
use tch::Tensor;

use super::{Linear, Mlp, MlpSpec};
use crate::weights::Weights;

/// A mixture of experts in the place of a feed-forward network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MoeSpec {
    /// Which experts a token goes to, and what each counts.
    pub router: RouterSpec,
    /// One expert.
    pub expert: MlpSpec,
    /// How checkpoints store the experts.
    pub storage: Storage,
    /// How many of the router's experts, the last ones, are no networks and return what they are given (Jin et al., 2024).
    pub identities: i64,
    /// What the router's weights multiply.
    pub applied: Applied,
    /// A network that every token goes through beside its experts.
    pub shared: Option<SharedSpec>,
}

/// What the weights of a router multiply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// What an expert returns.
    Output,
    /// What it is given.
    Input,
}

/// The network that all tokens share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SharedSpec {
    /// The network.
    pub mlp: MlpSpec,
    /// Whether `sigmoid(gate(x))`, one number per token, multiplies its output.
    pub gated: bool,
}

impl MoeSpec {
    /// `router` over networks like `expert`, each stored by itself, and nothing beside them.
    pub fn new(router: RouterSpec, expert: MlpSpec) -> Self {
        Self { router, expert, storage: Storage::Each, identities: 0, applied: Applied::Output, shared: None }
    }
}

/// A mixture of experts with its parameters.
#[derive(Debug)]
pub struct Moe {
    router: Router,
    experts: Experts,
    applied: Applied,
    shared: Option<(Mlp, Option<Linear>)>,
}

impl Moe {
    /// Loads `router`, `experts` and where there is one `shared` with `shared_gate`.
    pub fn load(weights: &Weights, spec: &MoeSpec) -> Self {
        let shared = |SharedSpec { mlp, gated }: SharedSpec| {
            let gate = gated.then(|| Linear::load(&weights.at("shared_gate"), mlp.hidden, 1, false));
            (Mlp::load(&weights.at("shared"), mlp), gate)
        };
        Self {
            router: Router::load(&weights.at("router"), spec.router, spec.expert.hidden),
            experts: Experts::load(
                &weights.at("experts"),
                spec.expert,
                spec.router.experts - spec.identities,
                spec.identities,
                spec.storage,
            ),
            applied: spec.applied,
            shared: spec.shared.map(shared),
        }
    }

    /// `[…, hidden]` to the same shape, and what the router said of each token, `[tokens, experts]`.
    pub fn forward(&self, x: &Tensor) -> (Tensor, Tensor) {
        let size = x.size();
        let tokens = x.reshape([-1, size.last().copied().unwrap_or(0)]);
        let routed = self.router.forward(&tokens);
        let mixed = self.experts.forward(&tokens, &routed.chosen, &routed.weights, self.applied).view(&size[..]);
        let mixed = match &self.shared {
            None => mixed,
            Some((mlp, None)) => mixed + mlp.forward(x),
            Some((mlp, Some(gate))) => mixed + gate.forward(x).sigmoid() * mlp.forward(x),
        };
        (mixed, routed.logits)
    }
}
