use super::EmbeddingsSpec;
use crate::nn::heads::PredictionSpec;
use crate::nn::{
    Activation, ConvBranchSpec, LayerSpec, NormSpec, Placement, RelativeBiasSpec, RelativeTableSpec, SummarySpec,
};
use crate::weights::NameTable;

/// What an encoder is made of; a pure function of its configuration.
///
/// An architecture states what differs from [`EncoderSpec::new`], or from the spec of the one that it derives from.
#[derive(Debug, Clone)]
pub struct EncoderSpec {
    /// What enters the layers.
    pub embeddings: EmbeddingsSpec,
    /// The layers, and what they share.
    pub layers: LayersSpec,
    /// The activation of the pooler, where the body has one.
    pub pooler: Option<Activation>,
    /// What the classes put on the body.
    pub heads: Heads,
    /// Number of labels of the classification heads.
    pub labels: i64,
    /// Where the parameters stand.
    pub names: Names,
}

impl EncoderSpec {
    /// `layers` on `embeddings`, a pooler, and the heads of BERT around `prediction`.
    pub fn new(embeddings: EmbeddingsSpec, layers: LayersSpec, prediction: PredictionSpec, names: Names) -> Self {
        let pooler = Some(Activation::Tanh);
        Self { embeddings, layers, pooler, heads: Heads::new(prediction), labels: 2, names }
    }

    /// The same with layers that normalise their input, and a last normalisation like theirs.
    pub fn normed_first(mut self) -> Self {
        self.layers.layers.iter_mut().for_each(|layer| layer.placement = Placement::Pre);
        self.layers.final_norm = self.layers.layers.first().map(|layer| layer.norm);
        self
    }
}

/// The layers of an encoder, and what they share.
#[derive(Debug, Clone)]
pub struct LayersSpec {
    /// The layers that have parameters of their own, first to last.
    pub layers: Vec<LayerSpec>,
    /// How a pass goes through them where it does so several times.
    pub sharing: Option<Sharing>,
    /// The normalisation after the last layer.
    pub final_norm: Option<NormSpec>,
    /// What all layers know of the places of tokens.
    pub relative: Option<Relative>,
    /// A convolution beside the first layer.
    pub conv: Option<ConvBranchSpec>,
    /// Whether a token sees only itself and those before it.
    pub causal: bool,
    /// Whether padding sees nothing.
    pub blind_padding: bool,
    /// Whether cross attention passes over the padding of what it looks at.
    pub masks_memory: bool,
}

impl LayersSpec {
    /// `count` layers that see all tokens.
    pub fn new(layer: LayerSpec, count: i64) -> Self {
        Self {
            layers: vec![layer; usize::try_from(count).unwrap_or(0)],
            sharing: None,
            final_norm: None,
            relative: None,
            conv: None,
            causal: false,
            blind_padding: false,
            masks_memory: true,
        }
    }
}

/// Layers in groups, each of which stands for several layers of a pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sharing {
    /// Layers of a group.
    pub inner: usize,
    /// The groups that a pass goes through, one after the other.
    pub groups: Vec<usize>,
}

/// What layers know of the places of tokens relative to each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Relative {
    /// Biases of scores, in a table of so many rows.
    Bias(RelativeBiasSpec, i64),
    /// Vectors of positions, for disentangled attention.
    Vectors(RelativeTableSpec),
}

/// What the classes of an encoder put on its body.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heads {
    /// The head over the vocabulary.
    pub prediction: PredictionSpec,
    /// The vector that sequence classification reads.
    pub sequence: Vector,
    /// The vector that multiple choice reads.
    pub choice: Vector,
    /// What pretraining reads.
    pub pretraining: Pretraining,
}

impl Heads {
    /// BERT's: one vector from the body's pooler for whatever asks for one.
    pub fn new(prediction: PredictionSpec) -> Self {
        let pretraining = Pretraining::Sentences { output: "seq_relationship_logits", labels: 2 };
        Self { prediction, sequence: Vector::Pooler, choice: Vector::Pooler, pretraining }
    }
}

/// How a class makes one vector of a sequence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Vector {
    /// The body's pooler does.
    Pooler,
    /// A dense layer of the class on the first token, and an activation.
    Dense(Activation),
    /// A summary of the class.
    Summary(SummarySpec),
}

/// What a class for pretraining reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pretraining {
    /// Masked tokens, and how two sentences relate.
    Sentences {
        /// The name of the second output.
        output: &'static str,
        /// Its size.
        labels: i64,
    },
    /// One number per token: whether it was replaced (Clark et al., 2020).
    Replaced(Activation),
}

/// Where the parameters of an encoder stand in a checkpoint.
#[derive(Debug, Clone)]
pub struct Names {
    /// What the classes with a head put before the names of the body.
    pub prefix: &'static str,
    /// From the blocks of [`EncoderBody`](super::EncoderBody) to the names below the prefix.
    pub body: NameTable,
    /// From the blocks of heads to the names in the file: `prediction`, `sequence`, `choice`, `token`, `span`,
    /// `sentence`, `replaced`.
    pub heads: NameTable,
    /// What some files hold of the body although nothing needs it.
    pub ignored: &'static [&'static str],
}

impl Names {
    /// `body` below `prefix`, and the scores of BERT's heads.
    pub fn new(prefix: &'static str, body: NameTable) -> Self {
        let heads = NameTable::new().names(&[
            ("sequence.scores", "classifier"),
            ("choice.scores", "classifier"),
            ("token", "classifier"),
            ("span", "qa_outputs"),
        ]);
        Self { prefix, body, heads, ignored: &["embeddings.position_ids"] }
    }

    /// The same with further names of heads, which take the place of those for the same blocks.
    pub fn with_heads(self, pairs: &[(&'static str, &'static str)]) -> Self {
        Self { heads: self.heads.names(pairs), ..self }
    }
}
