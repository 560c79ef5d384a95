//! Matrices that lie in memory in blocks give what rows give, and are saved as what they were loaded from.

use tch_transformers::verify::{Case, cases_directory};
use tch_transformers::weights::{LoadOptions, Prepack};
use tch_transformers::{Model, auto};

/// Cases with fused and transposed matrices, tied heads, stacks of experts, and matrices that are used in parts.
const CASES: [&str; 12] = [
    "bert/fill-mask",
    "gpt2/text-generation",
    "llama/text-generation",
    "bloom/text-generation",
    "t5/text2text-generation",
    "gpt_oss/text-generation",
    "mixtral/text-generation",
    "deepseek_v3/text-generation",
    "detr/object-detection",
    "vit/image-classification",
    "whisper/automatic-speech-recognition",
    "mamba/text-generation",
];

fn load(case: &Case, prepack: Prepack) -> Model {
    let options = LoadOptions { prepack, ..LoadOptions::default() };
    auto::load(case.config.clone(), &case.about.class, case.source().unwrap(), options).unwrap()
}

#[test]
fn blocks_give_the_outputs_of_rows_and_hold_the_same_bits() {
    for name in CASES {
        let case = Case::open(&cases_directory().join(name)).unwrap();
        let (rows, blocks) = (load(&case, Prepack::Never), load(&case, Prepack::Always));
        let stored = rows.state().tensors();
        for (parameter, tensor) in blocks.state().tensors() {
            assert!(tensor.equal(&stored[&parameter]), "{name}: {parameter}");
        }
        assert_eq!(blocks.state().names().count(), stored.len(), "{name}");
        let inputs = case.inputs();
        let found = blocks.forward(&inputs).unwrap();
        for (output, expected) in rows.forward(&inputs).unwrap().iter() {
            let found = found.get(output).unwrap();
            assert!(found.allclose(expected, 1e-4, 1e-5, true), "{name}: {output}");
        }
    }
}
