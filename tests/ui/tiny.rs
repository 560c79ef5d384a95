#[tch_transformers::hf_model(
    model_type = "gpt2",
    category = "decoder-only",
    model = tch_transformers::models::gpt::Gpt2,
    tasks(feature_extraction = "GPT2Model"),
    tiny { n_embed: 24, hidden_size: 24, n_layer: "two", activation_function: 3 },
    checks(config),
)]
mod gpt2 {}

#[tch_transformers::hf_model(
    model_type = "clip",
    category = "vision-text",
    model = tch_transformers::models::clip::Clip,
    tasks(feature_extraction = "CLIPModel"),
    tiny { text_config: { hidden_size: 2.5, width: 12 } },
    checks(config),
)]
mod clip {}

fn main() {}
