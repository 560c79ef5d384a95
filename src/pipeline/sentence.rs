//! The modules behind the model in a directory of `sentence-transformers`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use tch::{Kind, Tensor};

use crate::json::{parse, read};
use crate::nn::{Activation, Linear, Norm, NormSpec};
use crate::weights::{LoadOptions, TensorSource, Weights};
use crate::{Error, Result};

/// One vector per text out of the vectors of its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PoolingMode {
    /// The first token.
    Cls,
    /// The largest value of each component.
    Max,
    /// The mean.
    Mean,
    /// The sum, divided by the root of the number of tokens.
    #[serde(rename = "mean_sqrt_len_tokens")]
    MeanSqrtLen,
    /// The mean, tokens weighted by their position, from 1.
    WeightedMean,
    /// The last token.
    LastToken,
}

/// Several [`PoolingMode`]s side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pooling(pub Vec<PoolingMode>);

/// A module of `modules.json` after the model.
#[derive(Debug)]
pub enum SentenceModule {
    /// Tokens to one vector.
    Pooling(Pooling),
    /// Unit length.
    Normalize,
    /// `activation(x Wᵀ + b)`, plus `x` (projected where sizes differ) with a residual.
    Dense {
        /// Width of the input.
        inputs: i64,
        /// The projection.
        linear: Linear,
        /// After it.
        activation: Activation,
        /// What is added to it.
        residual: Residual,
    },
    /// LayerNorm of vectors of this width.
    LayerNorm(i64, Norm),
}

/// What a dense module adds to its output.
#[derive(Debug)]
pub enum Residual {
    /// Nothing.
    None,
    /// Its input.
    Input,
    /// Its input, projected.
    Projected(Linear),
}

/// A line of `modules.json`.
#[derive(Debug, Deserialize)]
struct Declared {
    #[serde(default)]
    path: String,
    r#type: String,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Modes {
    One(PoolingMode),
    Several(Vec<PoolingMode>),
}

#[derive(Debug, Deserialize)]
struct PoolingConfig {
    pooling_mode: Option<Modes>,
    include_prompt: Option<bool>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
struct DenseConfig {
    in_features: i64,
    out_features: i64,
    #[serde(default = "yes")]
    bias: bool,
    #[serde(default = "tanh")]
    activation_function: String,
    #[serde(default)]
    use_residual: bool,
    module_input_name: Option<String>,
    module_output_name: Option<String>,
}

#[derive(Debug, Deserialize)]
struct LayerNormConfig {
    dimension: i64,
}

fn yes() -> bool {
    true
}

fn tanh() -> String {
    "Tanh".into()
}

/// The modules that `modules.json` in `directory` lists: where the model itself lies, and what comes after it.
///
/// `None` where there is no such file.
pub(super) fn modules(directory: &Path, options: LoadOptions) -> Result<Option<(String, Vec<SentenceModule>)>> {
    let Some(declared) = parse::<Vec<Declared>>(&directory.join("modules.json"))? else { return Ok(None) };
    let wrong = |index: usize, message: String| Err(Error::config("modules.json", format!("[{index}].type"), message));
    let mut model = None;
    let mut modules = Vec::new();
    for (index, Declared { path, r#type }) in declared.into_iter().enumerate() {
        let at = directory.join(&path);
        match (r#type.rsplit('.').next().unwrap_or_default(), &model) {
            ("Transformer", None) => model = Some(path),
            (_, None) => return wrong(index, format!("`{}` cannot come first; Transformer must", r#type)),
            ("Pooling", _) => modules.push(SentenceModule::Pooling(Pooling::read(&at)?)),
            ("Normalize", _) => modules.push(SentenceModule::Normalize),
            ("Dense", _) => modules.push(dense(&at, options)?),
            ("LayerNorm", _) => modules.push(layer_norm(&at, options)?),
            ("Dropout", _) => {}
            _ => {
                let known = "Transformer, Pooling, Dense, LayerNorm, Dropout, Normalize";
                return wrong(index, format!("`{}` is not supported; supported are {known}", r#type));
            }
        }
    }
    match model {
        Some(model) => Ok(Some((model, modules))),
        None => Err(Error::config("modules.json", "type", "lists no Transformer")),
    }
}

fn dense(directory: &Path, options: LoadOptions) -> Result<SentenceModule> {
    let config: DenseConfig = read(&directory.join("config.json"))?;
    let wrong = |field: &str, message: String| Err(Error::config("Dense", field, message));
    let activation = match config.activation_function.rsplit('.').next().unwrap_or_default() {
        "Identity" => Activation::Linear,
        "Tanh" => Activation::Tanh,
        "ReLU" => Activation::Relu,
        "GELU" => Activation::Gelu,
        "SiLU" => Activation::Silu,
        "Sigmoid" => Activation::Sigmoid,
        _ => {
            let known = "Identity, Tanh, ReLU, GELU, SiLU, Sigmoid of torch.nn";
            let message = format!("`{}` is not supported; supported are {known}", config.activation_function);
            return wrong("activation_function", message);
        }
    };
    for (field, name) in
        [("module_input_name", &config.module_input_name), ("module_output_name", &config.module_output_name)]
    {
        if let Some(name) = name.as_deref().filter(|name| *name != "sentence_embedding") {
            return wrong(field, format!("`{name}` is not supported; only `sentence_embedding` is"));
        }
    }
    crate::config::positive("Dense", &[("in_features", config.in_features), ("out_features", config.out_features)])?;
    load(directory, options, |weights| {
        let (inputs, outputs) = (config.in_features, config.out_features);
        let linear = Linear::load(&weights.at("linear"), inputs, outputs, config.bias);
        let residual = match (config.use_residual, inputs == outputs) {
            (false, _) => Residual::None,
            (true, true) => Residual::Input,
            (true, false) => Residual::Projected(Linear::load(&weights.at("residual"), inputs, outputs, false)),
        };
        SentenceModule::Dense { inputs, linear, activation, residual }
    })
}

fn layer_norm(directory: &Path, options: LoadOptions) -> Result<SentenceModule> {
    let LayerNormConfig { dimension } = read(&directory.join("config.json"))?;
    crate::config::positive("LayerNorm", &[("dimension", dimension)])?;
    let load_norm = |weights: &Weights| {
        SentenceModule::LayerNorm(dimension, Norm::load(&weights.at("norm"), NormSpec::layer(1e-5), dimension))
    };
    load(directory, options, load_norm)
}

fn load(
    directory: &Path,
    options: LoadOptions,
    build: impl FnOnce(&Weights) -> SentenceModule,
) -> Result<SentenceModule> {
    let source = TensorSource::open(directory)?;
    crate::error::catch(|| {
        let weights = Weights::new(source, options);
        let module = build(&weights);
        let (report, _) = weights.finish();
        if report.is_clean() { Ok(module) } else { Err(Error::Weights(Box::new(report))) }
    })
}

impl SentenceModule {
    /// Applies the module to `x`: `[texts, tokens, width]` under `mask` (`[texts, tokens]`) until the texts are
    /// pooled, `[texts, width]` from then on.
    ///
    /// # Errors
    /// When the module takes vectors of another width, or pools what is pooled already.
    pub(super) fn forward(&self, x: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let width = x.size().last().copied().unwrap_or_default();
        let fits = |module: &str, expected: i64| match width == expected {
            true => Ok(()),
            false => Err(Error::config(
                "modules.json",
                module,
                format!("takes {expected} values, what comes before it makes {width}"),
            )),
        };
        match self {
            Self::Pooling(_) if x.dim() != 3 => Err(Error::config("modules.json", "Pooling", "stands twice")),
            Self::Pooling(pooling) => Ok(pooling.forward(x, mask)),
            Self::Normalize => Ok(normalize(x)),
            Self::LayerNorm(expected, norm) => {
                fits("LayerNorm", *expected)?;
                Ok(norm.forward(x))
            }
            Self::Dense { inputs, linear, activation, residual } => {
                fits("Dense", *inputs)?;
                let projected = activation.apply(&linear.forward(x));
                Ok(match residual {
                    Residual::None => projected,
                    Residual::Input => projected + x,
                    Residual::Projected(residual) => projected + residual.forward(x),
                })
            }
        }
    }
}

/// `x` with its last dimension of unit length.
pub(super) fn normalize(x: &Tensor) -> Tensor {
    x / x.norm_scalaropt_dim(2, [-1], true).clamp_min(1e-12)
}

impl Pooling {
    /// Reads `config.json` in `directory`.
    fn read(directory: &Path) -> Result<Self> {
        let config: PoolingConfig = read(&directory.join("config.json"))?;
        if config.include_prompt == Some(false) {
            let message = "false is not supported; prompts are pooled like the rest of a text";
            return Err(Error::config("Pooling", "include_prompt", message));
        }
        // Older directories have a flag per mode; the order is that of the concatenation.
        let flagged = [
            ("pooling_mode_cls_token", PoolingMode::Cls),
            ("pooling_mode_max_tokens", PoolingMode::Max),
            ("pooling_mode_mean_tokens", PoolingMode::Mean),
            ("pooling_mode_mean_sqrt_len_tokens", PoolingMode::MeanSqrtLen),
            ("pooling_mode_weightedmean_tokens", PoolingMode::WeightedMean),
            ("pooling_mode_lasttoken", PoolingMode::LastToken),
        ];
        let is_set = |field: &str| config.rest.get(field).and_then(Value::as_bool).unwrap_or(false);
        let modes = match config.pooling_mode {
            Some(Modes::One(mode)) => vec![mode],
            Some(Modes::Several(modes)) => modes,
            None => flagged.iter().filter(|(field, _)| is_set(field)).map(|(_, mode)| *mode).collect(),
        };
        Ok(Self(if modes.is_empty() { vec![PoolingMode::Mean] } else { modes }))
    }

    /// `tokens` (`[texts, tokens, width]`) under `mask` (`[texts, tokens]`, 0 = padding) to `[texts, modes * width]`.
    pub fn forward(&self, tokens: &Tensor, mask: &Tensor) -> Tensor {
        let pooled: Vec<_> = self.0.iter().map(|mode| mode.forward(tokens, mask)).collect();
        Tensor::cat(&pooled, -1)
    }
}

impl PoolingMode {
    fn forward(self, tokens: &Tensor, mask: &Tensor) -> Tensor {
        let real = mask.unsqueeze(-1).to_kind(Kind::Float);
        let wide = tokens.to_kind(Kind::Float);
        // The token of each text at these places, `[texts]`.
        let pick = |place: &Tensor| {
            let width = tokens.size()[2];
            tokens.gather(1, &place.view([-1, 1, 1]).expand([-1, 1, width], false), false).squeeze_dim(1)
        };
        let sum = |weights: &Tensor| (&wide * weights).sum_dim_intlist(1, false, Kind::Float);
        let count = |weights: &Tensor| weights.sum_dim_intlist(1, false, Kind::Float).clamp_min(1e-9);
        let first = || mask.to_kind(Kind::Int).argmax(1, false);
        let pooled = match self {
            Self::Cls => pick(&first()),
            Self::Max => wide.masked_fill(&real.eq(0.), f64::NEG_INFINITY).amax(1, false),
            Self::Mean => sum(&real) / count(&real),
            Self::MeanSqrtLen => sum(&real) / count(&real).sqrt(),
            Self::WeightedMean => {
                let position = Tensor::arange(tokens.size()[1], (Kind::Int64, tokens.device())) + 1;
                let weights = real * (position - first().unsqueeze(1)).unsqueeze(-1);
                sum(&weights) / count(&weights)
            }
            Self::LastToken => pick(&(mask.size()[1] - 1 - mask.to_kind(Kind::Int).flip([1]).argmax(1, false))),
        };
        pooled.to_kind(tokens.kind())
    }
}
