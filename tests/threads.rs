//! One model is shared by many threads, and each gets what it would get alone.

use std::sync::Arc;
use std::thread;

use tch::{Kind, Tensor};
use tch_transformers::auto::{self, AutoConfig};
use tch_transformers::pipeline::FeatureExtraction;
use tch_transformers::text::Tokenizer;
use tch_transformers::verify::{Case, cases_directory};
use tch_transformers::weights::{LoadOptions, State};
use tch_transformers::{Error, GenerationOptions, Inputs, Model, Outputs};

const THREADS: usize = 8;
const ROUNDS: usize = 4;

/// Compile for what threads may share, and for what they may hand over.
const fn shared<T: Send + Sync>() {}
const fn handed<T: Send>() {}

const _: () = {
    shared::<Model>();
    shared::<State>();
    shared::<AutoConfig>();
    shared::<Tokenizer>();
    shared::<FeatureExtraction>();
    shared::<Error>();
    handed::<Inputs>();
    handed::<Outputs>();
};

fn open(name: &str) -> (Arc<Model>, Case) {
    let folder = cases_directory().join(name);
    let case = Case::open(&folder).unwrap();
    (Arc::new(auto::from_directory(&folder, &case.about.class, LoadOptions::default()).unwrap()), case)
}

/// What `run` gives with the model, in every round of every thread; all of them at the same time.
fn everywhere<T: Send + 'static>(
    model: &Arc<Model>,
    run: impl Fn(&Model) -> T + Clone + Send + 'static,
) -> impl Iterator<Item = T> {
    let start = Arc::new(std::sync::Barrier::new(THREADS));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (model, run, start) = (Arc::clone(model), run.clone(), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                (0..ROUNDS).map(|_| run(&model)).collect::<Vec<_>>()
            })
        })
        .collect();
    threads.into_iter().flat_map(|thread| thread.join().unwrap())
}

fn tensors(outputs: &Outputs) -> Vec<(String, Tensor)> {
    outputs.iter().map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone())).collect()
}

#[test]
fn forward_passes_of_many_threads_equal_one_alone() {
    for name in [
        "bert/fill-mask",
        "gpt2/text-generation",
        "llama/text-generation",
        "t5/text2text-generation",
        "vit/image-classification",
        "mamba/text-generation",
    ] {
        let (model, case) = open(name);
        let inputs = case.inputs();
        let alone = tensors(&model.forward(&inputs).unwrap());
        assert!(!alone.is_empty(), "{name}");
        for found in everywhere(&model, move |model| tensors(&model.forward(&inputs).unwrap())) {
            for ((output, found), (_, alone)) in std::iter::zip(&found, &alone) {
                assert!(found.equal(alone), "{name}: {output}");
            }
        }
    }
}

#[test]
fn generations_of_many_threads_equal_one_alone() {
    for name in ["gpt2/text-generation", "llama/text-generation", "mamba/text-generation", "t5/text2text-generation"] {
        let (model, _) = open(name);
        let ids = Tensor::from_slice(&[3i64, 5, 9, 7, 4, 2]).reshape([2, 3]);
        let prompt = Inputs::new().with("input_ids", ids);
        let options = GenerationOptions { max_new_tokens: 12, ..Default::default() };
        let alone = model.generate(&prompt, &options).unwrap();
        assert_eq!(alone.kind(), Kind::Int64);
        for found in everywhere(&model, move |model| model.generate(&prompt, &options).unwrap()) {
            assert!(found.equal(&alone), "{name}");
        }
    }
}

#[test]
fn a_failure_in_one_thread_leaves_the_others_alone() {
    let (model, case) = open("bert/fill-mask");
    let (inputs, wrong) = (case.inputs(), Inputs::new());
    let alone = model.forward(&inputs).unwrap().take("logits").unwrap();
    let both = everywhere(&model, move |model| {
        assert!(model.forward(&wrong).is_err());
        model.forward(&inputs).unwrap().take("logits").unwrap()
    });
    both.for_each(|found| assert!(found.equal(&alone)));
}
