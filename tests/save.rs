//! Saved models: of one file or several, over older checkpoints of either form, and what a failure leaves.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;
use tch_transformers::auto::AutoConfig;
use tch_transformers::verify::cases_directory;
use tch_transformers::weights::safetensors::SafetensorsFile;
use tch_transformers::weights::{LoadOptions, SaveOptions, TensorSource};
use tch_transformers::{Error, Model, auto};

const CLASS: &str = "BertModel";

fn model() -> Model {
    let folder = cases_directory().join("bert");
    let case = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).find(|path| {
        let class = |text: String| serde_json::from_str::<Value>(&text).unwrap()["class"] == CLASS;
        fs::read_to_string(path.join("case.json")).is_ok_and(class)
    });
    auto::from_directory(&case.unwrap(), CLASS, LoadOptions::default()).unwrap()
}

/// The files in `folder`.
fn files(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn shards(folder: &Path) -> Vec<String> {
    files(folder).into_iter().filter(|name| name.contains("-of-")).collect()
}

/// The folder holds what `model` holds, and nothing of another checkpoint.
fn holds(folder: &Path, model: &Model) {
    let stored = TensorSource::open(folder).unwrap().into_memory().unwrap();
    let tensors = model.state().tensors();
    assert!(stored.keys().eq(tensors.keys()));
    assert!(tensors.iter().all(|(name, tensor)| stored[name].equal(tensor)));
    auto::from_directory(folder, CLASS, LoadOptions::default()).unwrap();
    assert!(!files(folder).iter().any(|name| name.starts_with('.')), "{:?}", files(folder));
}

const SMALL: SaveOptions = SaveOptions { max_shard_size: 4_000 };
const SMALLER: SaveOptions = SaveOptions { max_shard_size: 1_500 };

#[test]
fn every_form_goes_over_every_other() {
    let model = model();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();

    model.save(folder).unwrap();
    holds(folder, &model);
    assert!(files(folder).iter().eq(["config.json", "model.safetensors"]));

    model.save_with(folder, SMALL).unwrap();
    holds(folder, &model);
    let first = shards(folder);
    assert!(first.len() > 1 && first[0] == format!("model-00001-of-{:05}.safetensors", first.len()), "{first:?}");
    assert_eq!(files(folder).len(), first.len() + 2);
    for name in &first {
        let tensors = SafetensorsFile::open(&folder.join(name)).unwrap().tensors().unwrap();
        let bytes: usize = tensors.values().map(|tensor| tensor.numel() * 4).sum();
        assert!(bytes as u64 <= SMALL.max_shard_size || tensors.len() == 1, "{name} has {bytes} bytes");
    }

    model.save_with(folder, SMALL).unwrap();
    holds(folder, &model);
    let second = shards(folder);
    assert_eq!(second.len(), first.len());
    assert!(second[0].starts_with("model-1-00001-of-"), "{second:?}");

    model.save_with(folder, SMALL).unwrap();
    holds(folder, &model);
    assert_eq!(shards(folder), first);

    model.save_with(folder, SMALLER).unwrap();
    holds(folder, &model);
    assert!(shards(folder).len() > first.len());

    model.save(folder).unwrap();
    holds(folder, &model);
    assert!(files(folder).iter().eq(["config.json", "model.safetensors"]));
}

#[test]
fn the_index_says_how_large_the_checkpoint_is() {
    let (model, folder) = (model(), tempfile::tempdir().unwrap());
    model.save_with(folder.path(), SMALL).unwrap();
    let text = fs::read_to_string(folder.path().join("model.safetensors.index.json")).unwrap();
    let index: Value = serde_json::from_str(&text).unwrap();
    let total: usize = model.state().tensors().values().map(|tensor| tensor.numel() * 4).sum();
    assert_eq!(index["metadata"]["total_size"], total);
    assert_eq!(index["weight_map"].as_object().unwrap().len(), model.state().names().count());
}

#[test]
fn a_failure_leaves_the_old_checkpoint_whole() {
    let model = model();
    // A folder in the place of the file that the last step puts there.
    for (options, obstacle) in [(SMALL, "model.safetensors.index.json"), (SaveOptions::default(), "model.safetensors")]
    {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(obstacle)).unwrap();
        fs::write(folder.path().join("config.json"), "old").unwrap();
        assert!(matches!(model.save_with(folder.path(), options), Err(Error::Io { .. })));
        assert_eq!(fs::read_to_string(folder.path().join("config.json")).unwrap(), "old");
        assert!(!files(folder.path()).iter().any(|name| name.starts_with('.')));
    }
    // One file stays what it was until the index of several is there.
    let folder = tempfile::tempdir().unwrap();
    model.save(folder.path()).unwrap();
    fs::create_dir(folder.path().join("model.safetensors.index.json")).unwrap();
    assert!(model.save_with(folder.path(), SMALL).is_err());
    holds(folder.path(), &model);

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    assert!(matches!(model.save(&folder.path().join("file")), Err(Error::Io { .. })));
}

#[test]
fn what_a_crash_left_is_no_obstacle() {
    let (model, folder) = (model(), tempfile::tempdir().unwrap());
    model.save_with(folder.path(), SMALL).unwrap();
    let used = shards(folder.path());
    // Files of the next round, half written, and an index that was never published.
    fs::write(folder.path().join(used[0].replacen("model-", "model-1-", 1)), "half").unwrap();
    holds(folder.path(), &model);
    model.save_with(folder.path(), SMALL).unwrap();
    holds(folder.path(), &model);
    fs::write(folder.path().join("model.safetensors.index.json"), "no index").unwrap();
    model.save_with(folder.path(), SMALL).unwrap();
    holds(folder.path(), &model);
}

#[test]
fn a_checkpoint_on_the_way_to_its_place_is_loaded() {
    let (model, folder) = (model(), tempfile::tempdir().unwrap());
    let (folder, saved) = (folder.path(), folder.path().join(".saved"));
    model.save(folder).unwrap();
    for moved in [&["config.json"][..], &["model.safetensors"]] {
        fs::create_dir_all(&saved).unwrap();
        for name in moved {
            fs::rename(folder.join(name), saved.join(name)).unwrap();
        }
        auto::from_directory(folder, CLASS, LoadOptions::default()).unwrap();
        assert_eq!(AutoConfig::from_pretrained(folder).unwrap().model_type(), "bert");
    }
    model.save_with(folder, SMALL).unwrap();
    holds(folder, &model);

    // Only a folder that saving has made.
    #[cfg(unix)]
    {
        let other = tempfile::tempdir().unwrap();
        fs::write(other.path().join("config.json"), "another").unwrap();
        std::os::unix::fs::symlink(other.path(), &saved).unwrap();
        auto::from_directory(folder, CLASS, LoadOptions::default()).unwrap();
        fs::remove_file(&saved).unwrap();
    }
}

#[test]
fn other_files_stay() {
    let (model, folder) = (model(), tempfile::tempdir().unwrap());
    let others = ["tokenizer.json", "model.fp16-00001-of-00002.safetensors", "pytorch_model.bin"];
    for name in others {
        fs::write(folder.path().join(name), "other").unwrap();
    }
    model.save_with(folder.path(), SMALL).unwrap();
    model.save(folder.path()).unwrap();
    assert!(others.iter().all(|name| files(folder.path()).contains(*name)));
    holds(folder.path(), &model);
}
