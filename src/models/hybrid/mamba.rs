use serde_json::{Map, Value, json};

use crate::Result;
use crate::config::positive;
use crate::models::decoder::{DecoderLayer, DecoderSpec, LmHead, Names, decoder};
use crate::nn::{Activation, FeedForwardSpec, LayerSpec, MambaSpec, MixerSpec, NormSpec};
use crate::weights::NameTable;

crate::config! {
    /// Configuration of [`Mamba`].
    pub struct MambaConfig("mamba") {
        /// Tokens in the vocabulary.
        vocab_size: i64 = 50280,
        /// Width of the hidden states.
        hidden_size: i64 = 768,
        /// Numbers that each channel of a scan carries.
        state_size: i64 = 16,
        /// Number of layers.
        num_hidden_layers: i64 = 32,
        /// Added to mean squares.
        layer_norm_epsilon: f64 = 1e-5,
        /// Channels of a scan per element of the hidden states, where `intermediate_size` does not say.
        expand: i64 = 2,
        /// Channels of a scan.
        intermediate_size: i64 = 1536,
        /// Tokens that the convolution before a scan sees.
        conv_kernel: i64 = 4,
        /// Whether the projections into and out of the channels have a bias.
        use_bias: bool = false,
        /// Whether the convolution has a bias.
        use_conv_bias: bool = true,
        /// What follows the convolution.
        hidden_act: Activation = Activation::Silu,
        /// Whether layers are added in float32 where the model is in half precision.
        residual_in_fp32: bool = true,
        /// Width from which time steps are made; a sixteenth of `hidden_size` where it is `auto`.
        time_step_rank: i64 = 48,
        /// Whether the head over the vocabulary uses the table of token embeddings.
        tie_word_embeddings: bool = true,
    }
    ignored: [
        "time_step_scale", "time_step_min", "time_step_max", "time_step_init_scheme", "time_step_floor",
        "rescale_prenorm_residual", "use_mambapy", "use_associative_scan"
    ]
    upgrade: upgrade;
    validate: validate;
}

/// Sizes that follow from others where nothing is said.
fn upgrade(fields: &mut Map<String, Value>, default: &MambaConfig) -> Result<()> {
    let size = |field: &str, default: i64| fields.get(field).map_or(Some(default), Value::as_i64);
    let hidden = size("hidden_size", default.hidden_size);
    let inner = hidden.zip(size("expand", default.expand)).and_then(|(hidden, expand)| hidden.checked_mul(expand));
    let rank = hidden.map(super::time_step_rank);
    // A size that is no number is left for the parser to refuse.
    fields.entry("intermediate_size").or_insert(json!(inner.unwrap_or(1)));
    if fields.get("time_step_rank").is_none_or(|rank| rank == "auto") {
        fields.insert("time_step_rank".into(), json!(rank.unwrap_or(1)));
    }
    Ok(())
}

fn validate(config: &MambaConfig) -> Result<()> {
    positive(
        "mamba",
        &[
            ("vocab_size", config.vocab_size),
            ("hidden_size", config.hidden_size),
            ("state_size", config.state_size),
            ("num_hidden_layers", config.num_hidden_layers),
            ("expand", config.expand),
            ("intermediate_size", config.intermediate_size),
            ("conv_kernel", config.conv_kernel),
            ("time_step_rank", config.time_step_rank),
        ],
    )
}

decoder! {
    /// Mamba (Gu and Dao, 2023), a stack of selective state spaces; `transformers.models.mamba`.
    pub struct Mamba(MambaConfig) = spec;
    [FeatureExtraction, TextGeneration]
}

/// Mamba's decoder: layers that are a scan and nothing else.
pub fn spec(config: &MambaConfig) -> Result<DecoderSpec> {
    let norm = NormSpec::rms(config.layer_norm_epsilon);
    let mixer = MixerSpec::Mamba(MambaSpec {
        hidden: config.hidden_size,
        inner: config.intermediate_size,
        state: config.state_size,
        rank: config.time_step_rank,
        kernel: config.conv_kernel,
        activation: config.hidden_act,
        conv_bias: config.use_conv_bias,
        bias: config.use_bias,
        norms: None,
    });
    let layer = LayerSpec {
        wide_residual: config.residual_in_fp32,
        ..LayerSpec::of(config.hidden_size, mixer, FeedForwardSpec::None, norm)
    };
    let layers = vec![DecoderLayer::new(layer); config.num_hidden_layers as usize];
    let names = NameTable::new().names(&[
        ("token", "embeddings"),
        ("norm", "norm_f"),
        ("layers.*.mamba", "layers.*.mixer"),
        ("layers.*.attention_norm", "layers.*.norm"),
    ]);
    Ok(DecoderSpec {
        lm_head: LmHead { tied: config.tie_word_embeddings, bias: false },
        states_behind_layers: true,
        ..DecoderSpec::new(config.vocab_size, layers, norm, Names { prefix: "backbone", ..Names::new(names) })
    })
}
