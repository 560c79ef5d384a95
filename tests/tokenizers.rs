//! Tokenizers of many kinds give what Python gives for the same files: ids, offsets, masks, decoded text, pairs that are
//! cut, padded batches. The data is made by `reference/make_tokens.py`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tch::Tensor;
use tch_transformers::Result;
use tch_transformers::text::{Side, SpecialToken, Strategy, Tokenizer, Truncation};
use tokenizers::Encoding;

#[derive(Deserialize)]
struct Expected {
    texts: Vec<String>,
    /// Numbers of texts.
    pairs: Vec<(usize, usize)>,
    /// Strategy, length, stride.
    cuts: Vec<(String, usize, usize)>,
    cases: Vec<Case>,
    /// By text, then by case.
    ids: Vec<Vec<String>>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    vocabulary: Option<String>,
    rename: BTreeMap<String, String>,
    files: BTreeMap<String, String>,
    max_length: Option<usize>,
    padding_side: String,
    special: Special,
    /// Digests of everything about a text besides its ids, cut short: they find the text that differs.
    texts: Vec<u16>,
    /// The digest of all of that.
    all_texts: u32,
    /// Digests of all pairs, by cut.
    pairs: Vec<u32>,
    padded: u32,
}

#[derive(Deserialize)]
struct Special {
    roles: BTreeMap<String, (String, u32)>,
    extra: u32,
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tokenizers")
}

fn expected(file: &str) -> Expected {
    let mut json = String::new();
    let file = fs::File::open(data().join(file)).unwrap();
    flate2::read::GzDecoder::new(file).read_to_string(&mut json).unwrap();
    serde_json::from_str(&json).unwrap()
}

impl Case {
    /// Lays the files and reads the tokenizer.
    fn load(&self) -> Result<Tokenizer> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tokenizers").join(&self.name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        if let Some(vocabulary) = &self.vocabulary {
            for file in fs::read_dir(data().join(vocabulary)).unwrap().map(|file| file.unwrap().path()) {
                let name = file.file_name().unwrap().to_str().unwrap();
                fs::copy(&file, folder.join(self.rename.get(name).map_or(name, String::as_str))).unwrap();
            }
        }
        for (name, content) in &self.files {
            fs::write(folder.join(name), content).unwrap();
        }
        Tokenizer::from_directory(&folder)
    }
}

/// FNV-1a, 32 bits.
fn digest(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |value, byte| (value ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn joined<T: ToString>(values: impl IntoIterator<Item = T>) -> String {
    values.into_iter().map(|value| value.to_string()).collect::<Vec<_>>().join(",")
}

/// An encoding and its overflow, as one line.
fn line(encoding: &Encoding) -> String {
    let parts = [
        encoding.get_ids(),
        encoding.get_type_ids(),
        encoding.get_special_tokens_mask(),
        encoding.get_attention_mask(),
    ];
    let parts: Vec<_> = parts.into_iter().map(joined).collect();
    let offsets = joined(encoding.get_offsets().iter().map(|(start, end)| format!("{start}-{end}")));
    let own = format!("{};{offsets}", parts.join(";"));
    std::iter::once(own).chain(encoding.get_overflowing().iter().map(line)).collect::<Vec<_>>().join("|")
}

/// A call's result: each encoding with its overflow, as Python lists them, or that it fails.
fn outcome(result: Result<Vec<Encoding>>) -> String {
    match result {
        Ok(encodings) => {
            let all = encodings.iter().flat_map(|encoding| std::iter::once(encoding).chain(encoding.get_overflowing()));
            all.map(line).collect::<Vec<_>>().join("/")
        }
        Err(_) => "error".into(),
    }
}

fn of_text(tokenizer: &Tokenizer, text: &str) -> (String, String) {
    let full = &tokenizer.encode_cut(&[text], Truncation::NONE).unwrap()[0];
    let plain = &tokenizer.encode_plain(&[text]).unwrap()[0];
    let ids: Vec<i64> = full.get_ids().iter().map(|id| i64::from(*id)).collect();
    let decoded = [false, true].map(|skip| tokenizer.decode(&ids, skip).unwrap());
    (joined(&ids), format!("{}\n{}\n{}\n{}", line(full), joined(plain.get_ids()), decoded[0], decoded[1]))
}

fn of_pairs(tokenizer: &Tokenizer, expected: &Expected, cut: &(String, usize, usize)) -> String {
    let strategy = match cut.0.as_str() {
        "longest_first" => Strategy::LongestFirst,
        "only_first" => Strategy::OnlyFirst,
        "only_second" => Strategy::OnlySecond,
        _ => Strategy::None,
    };
    let truncation = Truncation { strategy, stride: cut.2, max_length: cut.1 };
    let mut lines = Vec::new();
    for (first, second) in &expected.pairs {
        let (first, second) = (expected.texts[*first].as_str(), expected.texts[*second].as_str());
        lines.push(outcome(tokenizer.encode_pairs(&[(first, second)], truncation)));
        if !cut.0.starts_with("only") {
            lines.push(outcome(tokenizer.encode_cut(&[first], truncation)));
        }
    }
    lines.join("\n")
}

fn rows(tensor: &Tensor) -> impl Iterator<Item = String> {
    let rows: Vec<Vec<i64>> = tensor.try_into().unwrap();
    rows.into_iter().map(joined)
}

fn padded(tokenizer: &Tokenizer, expected: &Expected) -> String {
    if tokenizer.special_tokens().pad.is_none() {
        return String::new();
    }
    let texts = expected.pairs.iter().map(|(first, _)| expected.texts[*first].as_str());
    let texts: Vec<_> = texts.filter(|text| !text.trim().is_empty()).take(6).collect();
    let mut lines = Vec::new();
    for side in [Side::Left, Side::Right] {
        let tokenizer = tokenizer.clone().padded_on(side);
        let inputs = tokenizer.batch(tokenizer.encode_cut(&texts, Truncation::NONE).unwrap()).unwrap();
        for name in ["input_ids", "attention_mask", "token_type_ids"] {
            lines.extend(rows(inputs.get(name).unwrap()));
        }
    }
    lines.join("\n")
}

/// What differs from Python, a line each.
fn differences(case: &Case, place: usize, expected: &Expected) -> Vec<String> {
    let tokenizer = match case.load() {
        Ok(tokenizer) => tokenizer,
        Err(error) => return vec![format!("does not load: {error}")],
    };
    let mut found = Vec::new();
    let mut compare = |what: &str, is_equal: bool, ours: &dyn Fn() -> String| {
        if !is_equal {
            found.push(format!("{what}: {}", ours()));
        }
    };
    let side = if case.padding_side == "left" { Side::Left } else { Side::Right };
    compare("padding side", tokenizer.padding_side() == side, &|| format!("{:?}", tokenizer.padding_side()));
    let length = case.max_length.unwrap_or(usize::MAX);
    compare("length", tokenizer.max_length() == length, &|| tokenizer.max_length().to_string());
    let special = tokenizer.special_tokens();
    let roles = [
        ("bos", &special.bos),
        ("eos", &special.eos),
        ("unk", &special.unk),
        ("sep", &special.sep),
        ("pad", &special.pad),
        ("cls", &special.cls),
        ("mask", &special.mask),
    ];
    for (role, token) in roles {
        let wanted =
            case.special.roles.get(role).map(|(content, id)| SpecialToken { content: content.clone(), id: *id });
        compare(role, *token == wanted, &|| format!("{token:?} for {wanted:?}"));
    }
    let mut extra: Vec<_> = special.additional.iter().map(|token| token.id).collect();
    extra.sort_unstable();
    compare("extra", digest(&joined(&extra)) == case.special.extra, &|| format!("{:?}", special.additional));
    let mut all = Vec::new();
    for (index, text) in expected.texts.iter().enumerate() {
        let (ids, rest) = of_text(&tokenizer, text);
        let wanted = &expected.ids[index][place];
        compare(&format!("text {index} {text:?}"), ids == *wanted, &|| format!("ids {ids} for {wanted}"));
        let is_equal = ids != *wanted || digest(&rest) as u16 == case.texts[index];
        compare(&format!("text {index} {text:?}"), is_equal, &|| rest.clone());
        all.push(rest);
    }
    compare("all texts", digest(&all.join("\n")) == case.all_texts, &String::new);
    for (index, cut) in expected.cuts.iter().enumerate() {
        let lines = of_pairs(&tokenizer, expected, cut);
        compare(&format!("pairs {index} {cut:?}"), digest(&lines) == case.pairs[index], &|| lines.clone());
    }
    let lines = padded(&tokenizer, expected);
    compare("padded", digest(&lines) == case.padded, &|| lines.clone());
    found
}

#[test]
fn tokenizers_of_all_kinds_give_what_python_gives() {
    let expected = expected("expected.json.gz");
    assert!(expected.texts.len() >= 200 && expected.cases.len() >= 40);
    compare(&expected);
}

#[test]
fn tokenizers_of_ranked_bytes_give_what_python_gives() {
    compare(&expected("ranked.json.gz"));
}

fn compare(expected: &Expected) {
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let check = |from: usize| {
            let cases = expected.cases.iter().enumerate().skip(from).step_by(threads);
            cases.filter_map(|(place, case)| summary(case, place, expected)).collect::<Vec<_>>()
        };
        let running: Vec<_> = (0..threads).map(|from| scope.spawn(move || check(from))).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), expected.cases.len(), wrong.join("\n"));
}

/// How many things differ, and the first of them; `None` where nothing does.
fn summary(case: &Case, place: usize, expected: &Expected) -> Option<String> {
    let found = differences(case, place, expected);
    let first: String = found.first()?.chars().take(700).collect();
    Some(format!("{}: {} differ, first {first}", case.name, found.len()))
}
