use tch::{Kind, Tensor};
use tch_transformers_native::Weight;

use super::heads::Pooler;
use super::{Activation, Attend, Attention, AttentionSpec, Mlp, MlpSpec, Norm, NormSpec};
use crate::weights::Weights;

/// How one vector is made of a sequence or an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PoolingSpec {
    /// The first token.
    First,
    /// The mean of the tokens from this one on.
    Mean {
        /// Tokens left out at the beginning.
        from: i64,
    },
    /// The mean of `count` tokens after the first `from`, of all that follow where it is `None`; normalised where there
    /// is a norm.
    Span {
        /// Tokens left out at the beginning.
        from: i64,
        /// Tokens that the mean is taken of.
        count: Option<i64>,
        /// Normalises the mean.
        norm: Option<NormSpec>,
    },
    /// The first token, then the mean of the tokens from this one on: twice as wide.
    FirstAndMean {
        /// Tokens left out of the mean.
        from: i64,
    },
    /// The mean over height and width of a feature map.
    Area,
    /// The first token, normalised.
    Norm(NormSpec),
    /// The first token through a dense layer and an activation.
    Dense {
        /// Width of the vector.
        size: i64,
        /// The activation.
        activation: Activation,
    },
    /// A learned query that attends to all tokens.
    Attention(AttentionPoolingSpec),
}

/// What a learned query takes from a sequence: `y + mlp(norm(y))` with `y = attention(query, tokens)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionPoolingSpec {
    /// From the query to the tokens.
    pub attention: AttentionSpec,
    /// The normalisation of what it takes.
    pub norm: NormSpec,
    /// The feed-forward after it.
    pub mlp: MlpSpec,
}

/// A pooling with its parameters.
#[derive(Debug)]
pub enum Pooling {
    /// As [`PoolingSpec::First`].
    First,
    /// As [`PoolingSpec::Mean`].
    Mean {
        /// Tokens left out at the beginning.
        from: i64,
    },
    /// As [`PoolingSpec::Span`].
    Span {
        /// Tokens left out at the beginning.
        from: i64,
        /// Tokens that the mean is taken of.
        count: Option<i64>,
        /// Normalises the mean.
        norm: Option<Norm>,
    },
    /// As [`PoolingSpec::FirstAndMean`].
    FirstAndMean {
        /// Tokens left out of the mean.
        from: i64,
    },
    /// As [`PoolingSpec::Area`].
    Area,
    /// As [`PoolingSpec::Norm`].
    Norm(Norm),
    /// As [`PoolingSpec::Dense`].
    Dense(Pooler),
    /// As [`PoolingSpec::Attention`].
    Attention(Box<AttentionPooling>),
}

/// An [`AttentionPoolingSpec`] with its parameters.
#[derive(Debug)]
pub struct AttentionPooling {
    /// The query, `[1, 1, width]`.
    probe: Weight,
    attention: Attention,
    norm: Norm,
    mlp: Mlp,
}

impl AttentionPooling {
    /// Loads `probe`, `attention`, `norm` and `mlp`.
    pub fn load(weights: &Weights, spec: AttentionPoolingSpec) -> Self {
        let width = spec.attention.hidden;
        Self {
            probe: weights.weight("probe", &[1, 1, width]),
            attention: Attention::load_cross(&weights.at("attention"), spec.attention),
            norm: Norm::load(&weights.at("norm"), spec.norm, width),
            mlp: Mlp::load(&weights.at("mlp"), spec.mlp),
        }
    }

    /// `[batch, tokens, width]` to `[batch, width]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let query = self.probe.expand([x.size()[0], -1, -1], false);
        let attend = Attend::all();
        let (taken, _) = self.attention.forward_cross(&query, x, attend, None);
        (&taken + self.mlp.forward(&self.norm.forward(&taken))).select(1, 0)
    }
}

impl Pooling {
    /// Loads what `spec` needs for tokens of `width`: `weight` and `bias`, or `dense`, or as [`AttentionPooling::load`].
    pub fn load(weights: &Weights, spec: PoolingSpec, width: i64) -> Self {
        match spec {
            PoolingSpec::First => Self::First,
            PoolingSpec::Mean { from } => Self::Mean { from },
            PoolingSpec::Span { from, count, norm } => {
                Self::Span { from, count, norm: norm.map(|norm| Norm::load(weights, norm, width)) }
            }
            PoolingSpec::FirstAndMean { from } => Self::FirstAndMean { from },
            PoolingSpec::Area => Self::Area,
            PoolingSpec::Norm(norm) => Self::Norm(Norm::load(weights, norm, width)),
            PoolingSpec::Dense { size, activation } => Self::Dense(Pooler::resizing(weights, width, size, activation)),
            PoolingSpec::Attention(spec) => Self::Attention(Box::new(AttentionPooling::load(weights, spec))),
        }
    }

    /// `[batch, tokens, width]`, or `[batch, width, height, width]` for [`Pooling::Area`], to `[batch, width]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        match self {
            Self::First => x.select(1, 0),
            Self::Mean { from } => mean(x, *from, None),
            Self::Span { from, count, norm: None } => mean(x, *from, *count),
            Self::Span { from, count, norm: Some(norm) } => norm.forward(&mean(x, *from, *count)),
            Self::FirstAndMean { from } => Tensor::cat(&[x.select(1, 0), mean(x, *from, None)], -1),
            Self::Area => x.mean_dim([-1, -2].as_slice(), false, None::<Kind>),
            Self::Norm(norm) => norm.forward(&x.select(1, 0)),
            Self::Dense(pooler) => pooler.forward(x),
            Self::Attention(pooling) => pooling.forward(x),
        }
    }
}

/// The mean of `count` tokens of `x` (`[batch, tokens, width]`) after the first `from`, or of all that follow.
fn mean(x: &Tensor, from: i64, count: Option<i64>) -> Tensor {
    x.narrow(1, from, count.unwrap_or(x.size()[1] - from)).mean_dim(1, false, None::<Kind>)
}

/// The token at `index` (`[batch]`) of each sequence in `x` (`[batch, tokens, width]`): `[batch, width]`.
pub fn token_at(x: &Tensor, index: &Tensor) -> Tensor {
    let size = x.size();
    x.gather(1, &index.view([-1, 1, 1]).expand([size[0], 1, size[2]], false), false).squeeze_dim(1)
}
