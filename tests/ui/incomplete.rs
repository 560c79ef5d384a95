#[tch_transformers::hf_model(model_type = "bert", category = "encoder-only")]
mod bert {
    fn not_empty() {}
}

fn main() {}
