#[tch_transformers::hf_model(
    model_type = "roberta",
    category = "encoder-only",
    model = tch_transformers::models::bert::Bert,
    tasks(fill_mask = "RobertaForMaskedLM"),
    checks(config),
)]
mod roberta {}

fn main() {}
