//! Files and configurations that nobody meant: each is an error or harmless, none a panic.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Value, json};
use tch::{Kind, Tensor};
use tch_transformers::weights::safetensors::{self, SafetensorsFile};
use tch_transformers::weights::{LoadOptions, SeededTensors, TensorSource};
use tch_transformers::{Result, auto, verify::cases_directory};
use zip::write::SimpleFileOptions;

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

/// Bytes that are opcodes of pickle more often than not.
fn any_opcode() -> impl Strategy<Value = Vec<u8>> {
    let line = |text: &str| Just(text.as_bytes().to_vec());
    prop_oneof![
        4 => prop::sample::select(b"(.NRbhqsu})tQ]ae\x85\x86\x87\x88\x89\x93\x94".to_vec()).prop_map(|byte| vec![byte]),
        2 => (prop::sample::select(b"hqK".to_vec()), 0u8..4).prop_map(|(opcode, index)| vec![opcode, index]),
        2 => any::<i64>().prop_map(|number| [&[0x8a, 8], &number.to_le_bytes()[..]].concat()),
        1 => line("ccollections\nOrderedDict\n"),
        1 => line("ctorch._utils\n_rebuild_tensor_v2\n"),
        1 => line("ctorch._utils\n_rebuild_parameter\n"),
        1 => line("ctorch\nFloatStorage\n"),
        1 => line("X\x07\0\0\0storage"),
        1 => line("X\x01\0\0\x000"),
        1 => any::<Vec<u8>>(),
    ]
}

/// A file of `torch.save` with this pickle and a storage of two floats.
fn torch_file(pickle: &[u8]) -> Vec<u8> {
    let mut file = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in [("m/data.pkl", pickle), ("m/data/0", &[0u8; 8][..])] {
        file.start_file(name, stored).unwrap();
        file.write_all(bytes).unwrap();
    }
    file.finish().unwrap().into_inner()
}

fn opened(folder: &str, file: &str, bytes: &[u8]) -> Result<BTreeMap<String, Tensor>> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(file), bytes).unwrap();
    TensorSource::open(&folder)?.into_memory()
}

proptest! {
    #![proptest_config(tries(500))]

    #[test]
    fn pickles_of_any_opcodes(opcodes in prop::collection::vec(any_opcode(), 0..60)) {
        let pickle = [b"\x80\x02".to_vec(), opcodes.concat(), b".".to_vec()].concat();
        let _ = opened("hostile-pickle", "pytorch_model.bin", &torch_file(&pickle));
    }

    #[test]
    fn files_of_torch_with_changed_bytes(
        file in 0usize..8,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let name = format!("tests/data/torch_{}_{}.bin", ["zip", "legacy"][file % 2], 2 + file / 2);
        let mut bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
        let length = bytes.len();
        for (at, byte) in changes {
            bytes[at.index(length)] = byte;
        }
        bytes.truncate(cut.map_or(length, |cut| cut.index(length)));
        let read = opened("hostile-torch", "pytorch_model.bin", &bytes);
        prop_assert!(read.is_err() || bytes.len() == length, "cut short and read");
    }

    #[test]
    fn tensors_with_any_strides(
        numel in prop_oneof![Just(2i64), any::<i64>()],
        offset in prop_oneof![0i64..3, any::<i64>()],
        places in prop::collection::vec((prop_oneof![0i64..3, any::<i64>()], prop_oneof![0i64..3, any::<i64>()]), 0..5),
    ) {
        let long = |number: i64| [&[0x8a, 8], &number.to_le_bytes()[..]].concat();
        let tuple = |items: Vec<Vec<u8>>| [b"(".to_vec(), items.concat(), b"t".to_vec()].concat();
        let (size, stride): (Vec<_>, Vec<_>) = places.iter().map(|(size, stride)| (long(*size), long(*stride))).unzip();
        let pickle = [
            &b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n"[..],
            b"X\x01\0\0\x000X\x03\0\0\0cpu", &long(numel), b"tQ", &long(offset), &tuple(size), &tuple(stride), b"\x89}tRs.",
        ].concat();
        let read = opened("hostile-strides", "pytorch_model.bin", &torch_file(&pickle));
        prop_assert!(read.is_ok() || !(numel == 2 && (0..2).contains(&offset) && places.is_empty()));
        if let Ok(tensors) = read {
            prop_assert!(numel == 2 && tensors["w"].numel() <= 2);
        }
    }

    #[test]
    fn indexes_with_any_files(names in prop::collection::vec("[a./\\\\:]{0,6}", 0..4)) {
        let map: BTreeMap<_, _> = names.iter().enumerate().map(|(at, name)| (at.to_string(), name)).collect();
        let index = json!({ "weight_map": map }).to_string();
        let read = opened("hostile-index", "model.safetensors.index.json", index.as_bytes());
        prop_assert_eq!(read.is_ok(), names.is_empty());
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
