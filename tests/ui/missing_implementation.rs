#[tch_transformers::hf_model(
    model_type = "bert",
    category = "encoder-only",
    model = tch_transformers::models::bert::Bart,
    tasks(fill_mask = "BertForMaskedLM"),
    checks(config),
)]
mod bert {}

fn main() {}
