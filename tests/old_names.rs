//! Checkpoints from before the parameters of layer norms were called `weight` and `bias` load as those of today.

use std::collections::{BTreeMap, BTreeSet};

use tch::Tensor;
use tch_transformers::verify::{Case, cases_directory, discover};
use tch_transformers::weights::{LoadOptions, LoadReport, TensorSource};
use tch_transformers::{Model, Result, auto};

/// Names as they stand in checkpoints, new and old: Python replaces the first of the old ones wherever it stands in the name
/// of a tensor.
const RENAMED: [(&str, &str); 2] = [("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta")];

/// The name in an old checkpoint, of those in `renamed`.
fn old(name: &str, renamed: &[(&str, &str)]) -> String {
    renamed.iter().fold(name.to_owned(), |name, (new, old)| name.replacen(new, old, 1))
}

fn load(case: &Case, tensors: BTreeMap<String, Tensor>) -> Result<(Model, LoadReport)> {
    auto::load_with_report(
        case.config.clone(),
        &case.about.class,
        TensorSource::Memory(tensors),
        LoadOptions::default(),
    )
}

#[test]
fn every_architecture_with_layer_norms_of_that_name_takes_the_old_names() {
    let mut architectures = BTreeSet::new();
    for folder in discover(&cases_directory()).unwrap() {
        let case = Case::open(&folder).unwrap();
        let tensors = case.source().unwrap().into_memory().unwrap();
        if tensors.keys().all(|name| old(name, &RENAMED) == *name) {
            continue;
        }
        architectures.insert(case.about.model_type.clone());
        let place = folder.display();
        let of = |renamed: &[(&str, &str)]| {
            tensors.iter().map(|(name, tensor)| (old(name, renamed), tensor.shallow_clone())).collect()
        };
        let (model, report) = load(&case, of(&[])).unwrap();
        let expected = model.state().tensors();
        // Each name by itself too: Python renames one without the other.
        for renamed in [&RENAMED[..], &RENAMED[..1], &RENAMED[1..]] {
            let (model, found) = load(&case, of(renamed)).unwrap_or_else(|error| panic!("{place}: {error}"));
            let names = |names: &[String]| names.iter().map(|name| old(name, renamed)).collect::<BTreeSet<_>>();
            assert!(names(&report.applied).iter().eq(&found.applied), "{place}: {found}");
            assert!(names(&report.passed_over).iter().eq(&found.passed_over), "{place}: {found}");
            assert!(found.fit.is_clean() && found.fresh.is_empty() && found.replaced.is_empty(), "{place}: {found}");
            let tensors = model.state().tensors();
            assert_eq!(tensors.len(), expected.len(), "{place}");
            for (name, tensor) in &expected {
                assert!(tensors[&old(name, renamed)].equal(tensor), "{place}: {name}");
            }
        }
    }
    assert!(architectures.len() >= 19, "only {architectures:?}");
}
