//! A model that counts the tokens that pass through it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::Value;
use tch::Tensor;

use super::text::ids_name;
use crate::inputs::Argument;
use crate::model::{Generation, Module};
use crate::verify::{Case, cases_directory};
use crate::weights::LoadOptions;
use crate::{Cache, Inputs, Model, Outputs, Result, auto};

#[derive(Debug)]
struct Watched {
    module: Box<dyn Module>,
    tokens: Arc<AtomicI64>,
}

impl Module for Watched {
    fn arguments(&self) -> Vec<Argument> {
        self.module.arguments()
    }

    fn forward(&self, inputs: &Inputs, cache: Option<&mut Cache>) -> Result<Outputs> {
        if let Some(ids) = self.module.generation().and_then(|generation| inputs.get(ids_name(generation))) {
            self.tokens.fetch_add(ids.size()[1], Ordering::Relaxed);
        }
        self.module.forward(inputs, cache)
    }

    fn generation(&self) -> Option<Generation> {
        self.module.generation()
    }

    fn renewed_beyond(&self) -> Option<i64> {
        self.module.renewed_beyond()
    }
}

/// The model of a committed case, and the number of tokens per row that have passed through it.
pub fn watched(case: &str) -> (Model, Arc<AtomicI64>) {
    let case = Case::open(&cases_directory().join(case)).unwrap();
    let model = auto::load(case.config.clone(), &case.about.class, case.source().unwrap(), LoadOptions::default());
    watch(model.unwrap())
}

/// `model`, and the number of tokens per row that pass through it.
pub fn watch(model: Model) -> (Model, Arc<AtomicI64>) {
    let tokens = Arc::new(AtomicI64::new(0));
    let count = tokens.clone();
    (model.with_module(|module| Box::new(Watched { module, tokens })), count)
}

/// What `count` has counted since the last time.
pub fn taken(count: &AtomicI64) -> i64 {
    count.swap(0, Ordering::Relaxed)
}

/// A prompt of rows of ids.
pub fn prompt<const N: usize>(rows: &[[i64; N]]) -> Inputs {
    Inputs::new().with("input_ids", Tensor::from_slice(&rows.concat()).view([rows.len() as i64, N as i64]))
}

/// Rows of ids.
pub fn rows(ids: &Tensor) -> Vec<Vec<i64>> {
    Vec::try_from(ids).unwrap()
}

/// Settings as a file says them.
pub fn config(json: Value) -> super::GenerationConfig {
    super::GenerationConfig::from_json(&json).unwrap()
}
