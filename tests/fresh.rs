//! New parameters come about as in Python, where a checkpoint lacks them and where there is none.
//!
//! `reference/fresh.py` made the data: how the parameters of every class are drawn in Python, as far as they do not follow
//! the rule that most do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use statrs::distribution::{ChiSquared, ContinuousCDF, Normal};
use tch::{Device, Kind, Tensor};
use tch_transformers::auto::{
    self, AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoModelForTokenClassification,
};
use tch_transformers::verify::cases_directory;
use tch_transformers::weights::{LoadOptions, TensorSource, safetensors};
use tch_transformers::{Error, Inputs, Model, config};

/// How often each class is drawn at first, and those of its parameters that stand out once more.
const DRAWS: Range<u64> = 0..4;
const MORE_DRAWS: Range<u64> = 4..68;

/// The chance with which a statement stands out that is right.
const STANDS_OUT: f64 = 1e-3;

/// The chance that the test fails on models that are drawn as in Python. Seeds are fixed: it fails always or never.
const ERROR: f64 = 1e-3;

fn new(seed: u64) -> LoadOptions {
    LoadOptions { allow_new_heads: true, seed, ..LoadOptions::default() }
}

fn number(tensor: &Tensor) -> f64 {
    tensor.double_value(&[])
}

/// Values that were drawn independently; without a count, the distribution itself.
#[derive(Debug, Clone, Copy)]
struct Sample {
    mean: f64,
    deviation: f64,
    count: Option<f64>,
}

/// Values that were drawn here, and what is known of Python's.
#[derive(Debug)]
struct Comparison {
    drawn: Sample,
    python: Sample,
}

impl Sample {
    /// Between what the sample's deviation lies but with the probability `level`, where that of the distribution is 1.
    fn ratios(&self, level: f64) -> [f64; 2] {
        let Some(count) = self.count else { return [1.0, 1.0] };
        // The sum of squares follows a chi-square distribution.
        let sum = ChiSquared::new(count - 1.0).unwrap();
        [level / 2.0, 1.0 - level / 2.0].map(|part| (sum.inverse_cdf(part) / (count - 1.0)).sqrt())
    }

    /// The variance of the mean, where that of the distribution is 1.
    fn variance_of_mean(&self) -> f64 {
        self.count.map_or(0.0, |count| 1.0 / count)
    }
}

impl Comparison {
    /// Bounds on the mean and the deviation, of what was drawn here and in Python. Python's count everywhere: what was
    /// measured decides whether the file has it.
    const STATEMENTS: f64 = 4.0;

    /// What no distribution explains, when each statement may be wrong with the probability `level`.
    ///
    /// Values are taken as normal. Uniform and truncated ones stray less, for which the bounds hold all the more.
    fn fault(&self, level: f64) -> Option<String> {
        let Self { drawn, python } = self;
        let ([low, high], [below, above]) = (python.ratios(level), drawn.ratios(level));
        let deviations = [python.deviation / high, python.deviation / low];
        let is_spread = drawn.deviation >= deviations[0] * below && drawn.deviation <= deviations[1] * above;
        let errors = Normal::standard().inverse_cdf(1.0 - level / 2.0);
        let means = [drawn, python].map(|sample| sample.variance_of_mean().sqrt()).iter().sum::<f64>();
        let is_centred = (drawn.mean - python.mean).abs() <= errors * deviations[1] * means;
        (!is_spread || !is_centred).then(|| format!("{drawn:?}, where Python has {python:?}"))
    }
}

/// What comes of looking at one parameter.
enum Found {
    Right,
    Wrong(String),
    Drawn(Comparison),
}

/// Looks at `draws` of one parameter, in the terms of the file.
fn look(draws: &[Tensor], about: &Value) -> Option<Found> {
    let all = Tensor::stack(draws, 0).to_kind(Kind::Double);
    let wrong = |is_wrong: bool, message: String| if is_wrong { Found::Wrong(message) } else { Found::Right };
    if let Some(value) = about.get("constant").and_then(Value::as_f64) {
        let off = number(&(&all - value).abs().max());
        return Some(wrong(off > 1e-5 * (1.0 + value.abs()), format!("not all are {value}")));
    }
    if let Some(fixed) = about.get("fixed") {
        let (mean, deviation) = (number(&all.mean(Kind::Double)), number(&draws[0].to_kind(Kind::Double).std(true)));
        let far = |found: f64, wanted: f64| (found - wanted).abs() > 1e-4;
        let is_other = far(mean, fixed[0].as_f64()?) || far(deviation, fixed[1].as_f64()?);
        let changes = draws.iter().any(|draw| !draw.equal(&draws[0]));
        let message = format!("mean {mean}, deviation {deviation}, where Python has {fixed}");
        return Some(wrong(is_other || changes, message));
    }
    let logarithms = about.get("log-uniform");
    let all = if logarithms.is_some() { all.exp() } else { all };
    let measured = about.get("normal").or(about.get("uniform")).or(logarithms)?;
    let python =
        Sample { mean: measured[0].as_f64()?, deviation: measured[1].as_f64()?, count: about["count"].as_f64() };
    let values = match about.get("row").and_then(Value::as_i64) {
        None => all,
        Some(row) => {
            if number(&all.select(1, row).abs().max()) != 0.0 {
                return Some(Found::Wrong(format!("row {row} is not zero")));
            }
            let rows: Vec<i64> = (0..all.size()[1]).filter(|other| *other != row).collect();
            all.index_select(1, &Tensor::from_slice(&rows))
        }
    };
    if values.dim() == 3 && about.get("row").is_none() {
        let zero = values.abs().amax([0i64, 2].as_slice(), false).eq(0.0);
        if number(&zero.any().to_kind(Kind::Double)) != 0.0 {
            return Some(Found::Wrong("a row is zero".into()));
        }
    }
    let (mean, deviation) = (number(&values.mean(Kind::Double)), number(&values.std(true)));
    let drawn = Sample { mean, deviation, count: Some(values.numel() as f64) };
    Some(Found::Drawn(Comparison { drawn, python }))
}

fn folded(name: &str) -> String {
    let segments = name.split('.').map(|segment| if segment.parse::<u32>().is_ok() { "*" } else { segment });
    segments.collect::<Vec<_>>().join(".")
}

/// The row that is about the parameter `name`: its own, that of all layers, or one that differs in what checkpoints put
/// before the names of a body.
fn key_of<'a>(name: &str, rows: &'a serde_json::Map<String, Value>) -> Option<&'a String> {
    let pattern = folded(name);
    let exact = |wanted: &str| rows.keys().find(|key| *key == wanted);
    let short = |name: &str| {
        let wrappers = ["model", "language_model", "text_model", "vision_model"];
        name.split('.').filter(|segment| !wrappers.contains(segment)).collect::<Vec<_>>().join(".")
    };
    let tail = |name: &str| name.split_once('.').map_or_else(String::new, |(_, tail)| tail.to_owned());
    let like = |wanted: &str| rows.keys().find(|key| short(key) == short(wanted));
    let names = [name.to_owned(), pattern.clone(), tail(name), tail(&pattern)];
    names.iter().find_map(|name| exact(name)).or_else(|| names.iter().find_map(|name| like(name)))
}

/// The rule that most parameters follow.
fn regular(name: &str, dimensions: usize, deviation: f64) -> Value {
    match name.rsplit('.').next() {
        Some("bias" | "running_mean") => json!({ "constant": 0.0 }),
        _ if dimensions < 2 => json!({ "constant": 1.0 }),
        _ => json!({ "normal": [0.0, deviation] }),
    }
}

/// Whether a model does without the parameter where a checkpoint lacks it: sinusoids, summands that are 0.
fn computed(name: &str) -> bool {
    name == "final_logits_bias" || name.ends_with("coder.embed_positions.weight")
}

/// A class of the roster, and how Python draws its parameters.
struct Subject<'a> {
    case: &'a str,
    config: Value,
    class: String,
    about: &'a Value,
}

impl<'a> Subject<'a> {
    fn of((case, about): (&'a String, &'a Value)) -> Self {
        let folder = cases_directory().join(case);
        let config = config::read_json(&folder.join("config.json")).unwrap();
        let class = config::read_json(&folder.join("case.json")).unwrap()["class"].as_str().unwrap().to_owned();
        Self { case, config, class, about }
    }

    /// What comes of looking at each parameter, by name, and the rows of the file that are about them.
    fn look(&self, seeds: Range<u64>) -> (BTreeMap<String, Found>, BTreeSet<&'a String>) {
        let draw = |seed| {
            let nothing = TensorSource::Memory(BTreeMap::new());
            auto::load(self.config.clone(), &self.class, nothing, new(seed)).unwrap().state().tensors()
        };
        let draws: Vec<BTreeMap<String, Tensor>> = seeds.map(draw).collect();
        let (irregular, std) = (self.about["irregular"].as_object().unwrap(), self.about["std"].as_f64().unwrap());
        let mut seen = BTreeSet::new();
        let about = |(name, tensor): (&String, &Tensor)| {
            let row = key_of(name, irregular);
            let mut wanted = regular(name, tensor.dim(), std);
            match row.map(|key| &irregular[key]) {
                Some(Value::Object(about)) if about.contains_key("row") => {
                    wanted.as_object_mut().unwrap().extend(about.clone());
                }
                Some(about) => wanted = about.clone(),
                None => {}
            }
            seen.extend(row);
            let values: Vec<_> = draws.iter().map(|draw| draw[name].shallow_clone()).collect();
            (name.clone(), look(&values, &wanted).unwrap())
        };
        (draws[0].iter().map(about).collect(), seen)
    }
}

/// Every class is drawn a few times. The parameters that stand out then, more of them by chance than for a reason, are
/// drawn many times more, and those draws alone decide.
#[test]
fn every_parameter_of_every_class_is_drawn_as_in_python() {
    let file = fs::File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/fresh.json.gz")).unwrap();
    let python: Value = serde_json::from_reader(GzDecoder::new(file)).unwrap();
    let subjects: Vec<_> = python["cases"].as_object().unwrap().iter().map(Subject::of).collect();
    let (mut faults, mut again, mut unmatched) = (Vec::new(), Vec::new(), Vec::new());
    let (mut compared, mut statements) = (0, 0.0);
    tch::set_num_threads(1);
    for subject in &subjects {
        let (found, seen) = subject.look(DRAWS);
        compared += found.len();
        let mut outstanding = BTreeSet::new();
        for (name, found) in found {
            match found {
                Found::Right => {}
                Found::Wrong(message) => faults.push(format!("{}: {name}: {message}", subject.case)),
                Found::Drawn(comparison) => {
                    statements += Comparison::STATEMENTS;
                    outstanding.extend(comparison.fault(STANDS_OUT).map(|_| name));
                }
            }
        }
        again.extend((!outstanding.is_empty()).then_some((subject, outstanding)));
        let names = subject.about["irregular"].as_object().unwrap().keys().filter(|name| !seen.contains(name));
        unmatched.extend(names.filter(|name| !computed(name)).map(|name| format!("{}: {name}", subject.case)));
    }
    // All statements together are wrong with the probability `ERROR` at most, whatever they have to do with each other.
    let level = ERROR / statements;
    for (subject, outstanding) in again {
        let (found, _) = subject.look(MORE_DRAWS);
        let decided = |name: String| match &found[&name] {
            Found::Right => None,
            Found::Wrong(message) => Some(format!("{}: {name}: {message}", subject.case)),
            Found::Drawn(comparison) => Some(format!("{}: {name}: {}", subject.case, comparison.fault(level)?)),
        };
        faults.extend(outstanding.into_iter().filter_map(decided));
    }
    assert!(faults.is_empty(), "{} of {compared}:\n{}", faults.len(), faults.join("\n"));
    assert!(compared > 15_000 && unmatched.is_empty(), "{compared} parameters; not asked for: {unmatched:?}");
}

#[test]
fn a_difference_is_found_as_soon_as_the_count_shows_it() {
    let level = ERROR / 50_000.0;
    let (known, measured) = (None, Some(8.0 * 1024.0));
    let fault = |count: f64, mean: f64, deviation: f64, python: Option<f64>| {
        let drawn = Sample { mean, deviation, count: Some(count) };
        let python = Sample { mean: 0.0, deviation: 1.0, count: python };
        Comparison { drawn, python }.fault(level).is_some()
    };
    for python in [known, measured] {
        assert!(!fault(16.0, 0.0, 1.9, python) && !fault(16.0, 0.0, 0.3, python) && !fault(16.0, 1.3, 1.0, python));
        assert!(fault(16.0, 0.0, 2.5, python) && fault(16.0, 0.0, 0.1, python) && fault(16.0, 1.6, 1.0, python));
    }
    assert!(!fault(40_000.0, 0.02, 1.01, known) && !fault(40_000.0, -0.02, 0.99, known));
    for (mean, deviation) in [(0.03, 1.0), (-0.03, 1.0), (0.0, 1.03), (0.0, 0.97)] {
        assert!(fault(40_000.0, mean, deviation, known), "{mean} {deviation}");
        // What is measured in Python too is not known as sharply.
        assert!(!fault(40_000.0, mean, deviation, measured), "{mean} {deviation}");
    }
}

fn head(model: &Model, name: &str) -> Tensor {
    model.state().tensor(name).unwrap()
}

#[test]
fn a_new_head_is_drawn_from_the_seed_and_reported() {
    let place = cases_directory().join("bert/fill-mask");
    let builder = || AutoModelForSequenceClassification::builder(&place).allow_unused(true);
    let Err(Error::Weights(report)) = builder().load() else { panic!("loaded") };
    assert!(report.missing.iter().any(|(name, _)| name == "classifier.weight"), "{report}");
    let (model, report) = builder().allow_new_heads(true).seed(5).load_with_report().unwrap();
    assert_eq!(
        report.fresh,
        ["bert.pooler.dense.bias", "bert.pooler.dense.weight", "classifier.bias", "classifier.weight"]
    );
    assert!(report.fit.is_usable() && report.to_string().contains("new          classifier.weight"), "{report}");
    let again = builder().allow_new_heads(true).seed(5).load().unwrap();
    let other = builder().allow_new_heads(true).seed(6).load().unwrap();
    assert!(head(&model, "classifier.weight").equal(&head(&again, "classifier.weight")));
    assert!(!head(&model, "classifier.weight").equal(&head(&other, "classifier.weight")));
    // What the checkpoint has is untouched, and the padding vector with it.
    let stored = TensorSource::open(&place).unwrap().into_memory().unwrap();
    let name = "bert.embeddings.word_embeddings.weight";
    assert!(head(&model, name).equal(&stored[name]));
}

#[test]
fn a_head_of_another_shape_is_replaced_where_that_is_allowed() {
    let place = cases_directory().join("bert/token-classification");
    let folder = tempfile::tempdir().unwrap();
    let mut changed = config::read_json(&place.join("config.json")).unwrap();
    let labels: serde_json::Map<String, Value> = (0..7).map(|at| (at.to_string(), format!("L{at}").into())).collect();
    changed["id2label"] = labels.into();
    fs::write(folder.path().join("config.json"), changed.to_string()).unwrap();
    let tensors = TensorSource::open(&place).unwrap().into_memory().unwrap();
    safetensors::write(&folder.path().join("model.safetensors"), &tensors).unwrap();
    let builder = || AutoModelForTokenClassification::builder(folder.path());
    let Err(Error::Weights(report)) = builder().allow_new_heads(true).load() else { panic!("loaded") };
    assert_eq!(report.mis_shaped.len(), 2);
    let (model, report) = builder().ignore_mismatched_sizes(true).load_with_report().unwrap();
    assert_eq!(
        report.replaced.iter().map(|(name, ..)| &name[..]).collect::<Vec<_>>(),
        ["classifier.bias", "classifier.weight"]
    );
    assert!(report.fresh.is_empty() && report.passed_over.is_empty(), "{report}");
    assert_eq!(head(&model, "classifier.weight").size()[0], 7);
}

#[test]
fn a_checkpoint_of_another_model_is_refused_however_much_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(cases_directory().join("bert/fill-mask/config.json"), folder.path().join("config.json")).unwrap();
    let other = TensorSource::open(&cases_directory().join("gpt2/text-generation")).unwrap().into_memory().unwrap();
    safetensors::write(&folder.path().join("model.safetensors"), &other).unwrap();
    let builder = AutoModelForSequenceClassification::builder(folder.path()).allow_unused(true).allow_new_heads(true);
    let Err(Error::Weights(report)) = builder.load() else { panic!("loaded") };
    assert!(!report.missing.is_empty() && !report.unused.is_empty());
}

#[test]
fn a_model_from_a_configuration_computes_trains_and_is_saved() {
    let config = AutoConfig::from_pretrained(cases_directory().join("llama/text-generation")).unwrap();
    let model = AutoModelForCausalLM::from_config(&config, LoadOptions { trainable: true, ..new(1) }).unwrap();
    let ids = Tensor::from_slice(&[3i64, 5, 9]).unsqueeze(0);
    let logits = model.forward(&Inputs::new().with("input_ids", ids)).unwrap().take("logits").unwrap();
    logits.sum(Kind::Float).backward();
    assert!(!model.state().gradients().is_empty());
    let half =
        AutoModelForCausalLM::from_config(&config, LoadOptions { kind: Some(Kind::BFloat16), ..new(1) }).unwrap();
    assert_eq!((half.kind(), half.device()), (Kind::BFloat16, Device::Cpu));
    let folder = tempfile::tempdir().unwrap();
    model.save(folder.path()).unwrap();
    let again = AutoModelForCausalLM::from_pretrained(folder.path()).unwrap();
    for (name, tensor) in model.state().tensors() {
        assert!(head(&again, &name).equal(&tensor), "{name}");
    }
}
