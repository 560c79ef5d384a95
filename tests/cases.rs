//! Reading reference cases that are damaged, and what a check says about numbers that are wrong.

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use support::{copy_of, edit};
use tch::Tensor;
use tch_transformers::Error;
use tch_transformers::verify::{Case, Check, Setting, Status, discover, run};
use tch_transformers::weights::{TensorSource, safetensors};

const CASE: &str = "bert/fill-mask";

/// Damages a copy of a case; opening it must be an error that names `file`, running a check on it a failure.
fn refuses(file: &str, damage: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let case = copy_of(CASE, folder.path());
    damage(&case.join(file));
    match Case::open(&case) {
        Err(Error::Case { path, .. }) => assert!(path.ends_with(file), "{file}: blames {}", path.display()),
        other => panic!("{file}: {other:?}"),
    }
    let outcome = run(Check::Forward, &case, Setting::default());
    assert_eq!(outcome.status, Status::Failed);
    assert!(outcome.detail.contains(file), "{}", outcome.detail);
}

#[test]
fn every_damaged_file_is_named() {
    for file in ["case.json", "config.json", "case.safetensors"] {
        refuses(file, |path| std::fs::remove_file(path).unwrap());
        refuses(file, |path| std::fs::write(path, "").unwrap());
        refuses(file, |path| std::fs::write(path, "[1, 2").unwrap());
        refuses(file, |path| std::fs::write(path, "[1, 2]").unwrap());
        refuses(file, |path| {
            std::fs::remove_file(path).unwrap();
            std::fs::create_dir(path).unwrap();
        });
    }
    refuses("weights.json", |path| std::fs::write(path, "{}").unwrap());
    refuses("case.json", |path| edit(path, "\"class\"", "\"klass\""));
    refuses("case.json", |path| edit(path, "\"seed\":1", "\"seed\":\"one\""));
    refuses("weights.json", |path| edit(path, "\"shape\":[12]", "\"shape\":[-20]"));
    refuses("weights.json", |path| edit(path, "\"shape\":[12]", "\"shape\":[4000000000,4000000000]"));
}

#[test]
fn a_case_without_weights_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let case = copy_of(CASE, folder.path());
    std::fs::remove_file(case.join("weights.json")).unwrap();
    assert!(matches!(Case::open(&case), Err(Error::Case { .. })));
}

#[test]
fn safetensors_that_lie_are_refused() {
    let header = |text: &str| {
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.extend(text.as_bytes());
        bytes.extend([0; 16]);
        bytes
    };
    let tensor = |shape: &str, end: usize| {
        header(&format!(r#"{{"output.x":{{"dtype":"F32","shape":{shape},"data_offsets":[0,{end}]}}}}"#))
    };
    refuses("case.safetensors", |path| {
        let bytes = std::fs::read(path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
    });
    refuses("case.safetensors", |path| std::fs::write(path, u64::MAX.to_le_bytes()).unwrap());
    refuses("case.safetensors", |path| std::fs::write(path, tensor("[5]", 16)).unwrap());
    refuses("case.safetensors", |path| std::fs::write(path, tensor("[4]", 1 << 40)).unwrap());
    refuses("case.safetensors", |path| std::fs::write(path, tensor("[4294967296,4294967296,4]", 16)).unwrap());
    refuses("case.safetensors", |path| std::fs::write(path, tensor("[0,9223372036854775807]", 0)).unwrap());
    refuses("case.safetensors", |path| std::fs::write(path, tensor("[-4]", 16)).unwrap());
    refuses("case.safetensors", |path| std::fs::write(path, header("{}")).unwrap());
}

/// Changes the tensors of a copy of a case, and runs `forward` on it.
fn forward_after(change: impl FnOnce(&mut BTreeMap<String, Tensor>)) -> (Status, String) {
    let folder = tempfile::tempdir().unwrap();
    let case = copy_of(CASE, folder.path());
    let path = case.join("case.safetensors");
    let mut tensors = safetensors::SafetensorsFile::open(&path).unwrap().tensors().unwrap();
    change(&mut tensors);
    safetensors::write(&path, &tensors).unwrap();
    let outcome = run(Check::Forward, &case, Setting::default());
    (outcome.status, outcome.detail)
}

#[test]
fn forward_passes_and_can_fail() {
    assert_eq!(forward_after(|_| ()).0, Status::Passed);
    let logits = "output.logits";
    let put =
        |tensors: &mut BTreeMap<String, Tensor>, name: &str, tensor| drop(tensors.insert(name.to_owned(), tensor));

    let (status, detail) = forward_after(|tensors| {
        let moved = tensors[logits].copy();
        let _ = moved.get(0).get(0).get(0).g_add_scalar_(1e-3);
        put(tensors, logits, moved);
    });
    assert_eq!(status, Status::Failed);
    assert!(detail.contains("logits"), "{detail}");

    let (status, detail) = forward_after(|tensors| put(tensors, logits, tensors[logits].full_like(f64::NAN)));
    assert_eq!(status, Status::Failed);
    assert!(detail.contains("NaN"), "{detail}");

    let (status, detail) = forward_after(|tensors| put(tensors, logits, tensors[logits].narrow(1, 0, 1).contiguous()));
    assert_eq!(status, Status::Failed);
    assert!(detail.contains("shape"), "{detail}");

    let (status, detail) =
        forward_after(|tensors| put(tensors, "output.nested.0.thing", tensors[logits].shallow_clone()));
    assert_eq!(status, Status::Failed);
    assert!(detail.contains("`nested.0.thing` is not produced"), "{detail}");
}

/// Every row of the table of gradients that holds more than rounding counts.
#[test]
fn a_gradient_that_does_not_arrive_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let case = copy_of(CASE, folder.path());
    let path = case.join("case.safetensors");
    let tensors = safetensors::SafetensorsFile::open(&path).unwrap().tensors().unwrap();
    let opened = Case::open(&case).unwrap();
    let names = opened.gradient_names().unwrap();
    assert_eq!(tensors["gradients"].size(), [names.len() as i64, 2]);
    assert_eq!(run(Check::Gradients, &case, Setting::default()).status, Status::Passed);
    for (row, name) in names.iter().enumerate() {
        let changed: BTreeMap<_, _> = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.copy())).collect();
        let _ = changed["gradients"].get(row as i64).zero_();
        safetensors::write(&path, &changed).unwrap();
        let outcome = run(Check::Gradients, &case, Setting::default());
        let dead = opened.about.insensitive.contains(name);
        assert_eq!(outcome.status, if dead { Status::Passed } else { Status::Failed }, "{name}: {}", outcome.detail);
    }
}

/// Cases may list the rows of their gradients, and tensors that have none.
#[test]
fn rows_of_gradients_can_be_listed_and_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let case = copy_of(CASE, folder.path());
    let all = Case::open(&case).unwrap().gradient_names().unwrap();
    let about = case.join("case.json");
    let listed = format!("\"gradients\":{},\n\"class\"", serde_json::to_string(&all).unwrap());
    edit(&about, "\"class\"", &listed);
    assert_eq!(run(Check::Gradients, &case, Setting::default()).status, Status::Passed);
    refuses("case.safetensors", |path| {
        edit(&path.with_file_name("case.json"), "\"class\"", "\"gradients\":[\"x\"],\n\"class\"");
    });
    let left_out = format!("\"gradients_without\":[{:?}],\n\"class\"", all[0]);
    refuses("case.safetensors", |path| edit(&path.with_file_name("case.json"), "\"class\"", &left_out));
    refuses("case.json", |path| edit(path, "\"class\"", "\"gradients_without\":[\"nothing\"],\n\"class\""));
}

#[test]
fn the_first_layer_that_diverges_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let case = copy_of("bert/feature-extraction", folder.path());
    let mut weights = TensorSource::open(&case).unwrap().into_memory().unwrap();
    let name = "encoder.layer.1.intermediate.dense.bias";
    weights.insert(name.to_owned(), weights[name].zeros_like());
    safetensors::write(&case.join("model.safetensors"), &weights).unwrap();
    let outcome = run(Check::Forward, &case, Setting::default());
    assert_eq!((outcome.status, outcome.diverges_at.as_deref()), (Status::Failed, Some("hidden_states.2")));
}

#[test]
fn a_class_that_is_not_implemented_is_uncovered() {
    let folder = tempfile::tempdir().unwrap();
    let case = copy_of(CASE, folder.path());
    edit(&case.join("case.json"), "BertForMaskedLM", "BertForTimeTravel");
    assert_eq!(run(Check::Forward, &case, Setting::default()).status, Status::Uncovered);
    let case = copy_of("bert/pretraining", folder.path());
    edit(&case.join("config.json"), "\"model_type\":\"bert\"", "\"model_type\":\"nobody\"");
    assert_eq!(run(Check::Forward, &case, Setting::default()).status, Status::Uncovered);
}

#[test]
fn tolerance_relative_to_the_scale_replaces_the_calibrated_one() {
    let folder = tempfile::tempdir().unwrap();
    let case = copy_of("bert/cross-attention", folder.path());
    let strict = Setting { tolerance: Some(0.0), ..Setting::default() };
    assert_eq!(run(Check::Forward, &case, Setting::default()).status, Status::Passed);
    assert_eq!(run(Check::Dtype, &case, strict).status, Status::Failed);
}

#[cfg(unix)]
#[test]
fn cases_are_found_at_any_depth_and_links_in_a_circle_end() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("a/b/c");
    std::fs::create_dir_all(&deep).unwrap();
    let (first, second) = (copy_of(CASE, &deep), copy_of(CASE, folder.path()));
    std::os::unix::fs::symlink(folder.path(), deep.join("circle")).unwrap();
    std::os::unix::fs::symlink("nowhere", deep.join("dangling")).unwrap();
    assert_eq!(discover(folder.path()).unwrap(), [first, second]);
    assert!(discover(&folder.path().join("nothing")).is_err());
}
