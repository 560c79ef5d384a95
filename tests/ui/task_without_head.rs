#[tch_transformers::hf_model(
    model_type = "bert",
    category = "encoder-only",
    model = tch_transformers::models::bert::Bert,
    tasks(fill_mask = "BertForMaskedLM", image_classification = "BertForImageClassification"),
    parts("bert_pooler" = "BertPooler" => tch_transformers::models::bert::Bert),
    checks(config),
)]
mod bert {}

fn main() {}
