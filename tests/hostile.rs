//! Files and configurations that nobody meant: each is an error or harmless, none a panic.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Value, json};
use tch::{Kind, Tensor};
use tch_transformers::weights::safetensors::{self, SafetensorsFile};
use tch_transformers::weights::{LoadOptions, SeededTensors, TensorSource};
use tch_transformers::{auto, verify::cases_directory};

/// A fixed number of tries: the tests must end on a small machine.
fn tries(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn written(name: &str, bytes: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// A safetensors file with three tensors of different kinds.
fn valid() -> Vec<u8> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hostile-valid.safetensors");
    let tensors = BTreeMap::from([
        ("a.weight".to_owned(), Tensor::arange(6, (Kind::Float, tch::Device::Cpu)).view([2, 3])),
        ("b".to_owned(), Tensor::arange(4, (Kind::Int64, tch::Device::Cpu))),
        ("c".to_owned(), Tensor::arange(5, (Kind::BFloat16, tch::Device::Cpu))),
    ]);
    safetensors::write(&path, &tensors).unwrap();
    std::fs::read(path).unwrap()
}

proptest! {
    #![proptest_config(tries(600))]

    #[test]
    fn safetensors_with_changed_bytes(changes in prop::collection::vec((0usize..400, any::<u8>()), 1..8), cut in 0usize..500) {
        let mut bytes = valid();
        let len = bytes.len();
        for (at, byte) in changes {
            bytes[at % len] = byte;
        }
        bytes.truncate(cut.max(1));
        let path = written("hostile-bytes.safetensors", &bytes);
        if let Ok(file) = SafetensorsFile::open(&path) {
            let _ = file.tensors();
        }
    }

    #[test]
    fn safetensors_with_any_header(start in 0u64..u64::MAX, end in 0u64..u64::MAX, size in any::<u64>(), dtype in "[A-Z][0-9]{1,2}") {
        let header = json!({ "w": { "dtype": dtype, "shape": [size, 2], "data_offsets": [start, end] } }).to_string();
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend([0u8; 64]);
        let path = written("hostile-header.safetensors", &bytes);
        prop_assert!(SafetensorsFile::open(&path).and_then(|file| file.tensors()).is_err());
    }

    #[test]
    fn seeded_weights_with_any_shape(shape in prop::collection::vec(any::<i64>(), 1..4), dtype in "[a-z]{1,8}[0-9]{0,2}") {
        let text = json!({ "seed": 1, "tensors": { "w": { "shape": shape, "dtype": dtype, "low": 0, "high": 1 } } }).to_string();
        let path = written("hostile-seeded.json", text.as_bytes());
        let _ = SeededTensors::open(&path);
    }
}

/// Values that a field of a configuration may hold by mistake.
fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::from),
        (-3i64..70).prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        any::<bool>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        Just(Value::Null),
        prop::collection::vec(-2i64..40, 0..4).prop_map(|list| json!(list)),
        Just(json!({ "model_type": "bert" })),
        Just(json!({})),
    ]
}

proptest! {
    #![proptest_config(tries(400))]

    #[test]
    fn configurations_with_a_changed_field(class in any::<prop::sample::Index>(), field in any::<prop::sample::Index>(), value in any_value()) {
        let classes: Vec<_> =
            auto::roster().iter().flat_map(|entry| entry.classes.iter().map(move |class| (entry, class))).collect();
        let (entry, class) = class.get(&classes);
        let path = cases_directory().join(entry.model_type).join("defaults.json");
        let mut config: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let fields = config.as_object_mut().unwrap();
        // Small models: a right configuration builds all its placeholders.
        for (name, value) in fields.iter_mut() {
            if name.contains("layers") && value.is_i64() {
                *value = json!(1);
            }
        }
        let names: Vec<String> = fields.keys().cloned().collect();
        fields.insert(field.get(&names).clone(), value);
        let loaded = auto::load(config, class.name, TensorSource::Memory(BTreeMap::new()), LoadOptions::default());
        prop_assert!(loaded.is_err(), "loaded from nothing");
    }
}
