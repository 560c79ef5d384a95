// All that the attribute itself can see is reported at once.
#[tch_transformers::hf_model(
    model_type = "gpt-j",
    category = "decoders",
    model = tch_transformers::models::bert::Bert,
    modle = "bert",
    tasks(text_generatoin = "BertLMHeadModel", fill_mask = "BertForMaskedLM", fill_mask = "BertForMaskedLM"),
    tiny { hidden_size: 20, hidden_size: 24 },
    cases("cross-attention" = "BertLMHead" {}),
    checks(config, weigths),
    skip(trace = " "),
)]
mod gptj {}

fn main() {}
