//! BERT and its heirs: bidirectional encoders over token, position and segment embeddings.
//!
//! An [`EncoderSpec`] says what varies: the embeddings ([`EmbeddingsSpec`]: how positions are counted, which further tables
//! are summed in, where a narrower embedding is widened), the layers (before or after which norm, shared in groups, with
//! relative positions), the pooler, the heads ([`Heads`]), and the names in a checkpoint. Each architecture has a file that
//! makes one of its configuration:
//!
//! | file | what its architecture changes |
//! |---|---|
//! | `original.rs` | nothing: BERT itself |
//! | `roberta.rs` | positions count from the padding token's id and pass over padding; its own sequence head |
//! | `distilbert.rs` | no segments, no pooler |
//! | `albert.rs` | layers shared in groups, narrower embeddings |
//! | `electra.rs` | narrower embeddings, a head that tells replaced tokens |
//! | `mpnet.rs` | relative biases that all layers share |
//! | `rembert.rs` | narrower embeddings, a wider prediction head |
//! | `generation.rs` | no segments, no pooler, a bare prediction head |
//! | `heirs.rs` | nothing: RoBERTa under other names |
//! | `ernie.rs` | a table of tasks |
//! | `normed_first.rs` | norms before each sublayer, on BERT and on RoBERTa |

mod albert;
mod body;
mod classes;
mod distilbert;
mod electra;
mod embeddings;
mod encoder;
mod ernie;
mod generation;
mod heirs;
mod mpnet;
mod normed_first;
mod original;
mod rembert;
mod roberta;
mod spec;
mod xlm_roberta;

pub use albert::{Albert, AlbertConfig};
pub use body::EncoderBody;
pub use classes::Class;
pub(crate) use classes::encoder;
pub use distilbert::{DistilBert, DistilBertConfig};
pub use electra::{Electra, ElectraConfig};
pub use embeddings::{Embeddings, EmbeddingsSpec, IdTable, Positions, Projection};
pub use encoder::Encoder;
pub use ernie::{Ernie, ErnieConfig};
pub use generation::{BertGeneration, BertGenerationConfig};
pub use heirs::{Camembert, CamembertConfig, Data2VecText, Data2VecTextConfig};
pub use mpnet::{MPNet, MPNetConfig};
pub use normed_first::{
    MegatronBert, MegatronBertConfig, RobertaPreLayerNorm, RobertaPreLayerNormConfig, XlmRobertaXl, XlmRobertaXlConfig,
};
pub use original::{Bert, BertConfig, spec};
pub use rembert::{RemBert, RemBertConfig};
pub use roberta::{Roberta, RobertaConfig, first_position};
pub use spec::{EncoderSpec, Heads, LayersSpec, Names, Pretraining, Relative, Sharing, Vector};
pub use xlm_roberta::{XlmRoberta, XlmRobertaConfig};
