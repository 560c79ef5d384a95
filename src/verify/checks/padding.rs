//! Checks that rows of a batch, and the padding in them, do not see each other.

use serde_json::Value;
use tch::{Kind, Tensor};

use crate::inputs::{Argument, Dim};
use crate::verify::compare::{Comparison, compare};
use crate::verify::{Outcome, Subject, checks::Check};
use crate::{Error, Inputs, Outputs, Result};

/// Tokens that are added on one side.
const ADDED: i64 = 3;

/// The name of a dimension, where it has one.
pub fn named(dim: &Dim) -> Option<&'static str> {
    match dim {
        Dim::Named(name) | Dim::AtMost(name, _) | Dim::AtLeast(name, _) | Dim::Broadcast(name) => Some(name),
        Dim::Exactly(_) | Dim::Any => None,
    }
}

/// The dimensions of `tensor` that go by one of `names` in its argument.
pub fn dims_named(arguments: &[Argument], name: &str, tensor: &Tensor, names: &[&str]) -> Vec<i64> {
    let shape = arguments.iter().find(|argument| argument.name == name).map_or(&[][..], |argument| &argument.shape);
    let fits = |dim: &Dim, size: i64| {
        named(dim).is_some_and(|name| names.contains(&name)) && !(matches!(dim, Dim::Broadcast(_)) && size == 1)
    };
    let sizes = tensor.size();
    (0..).zip(shape.iter().zip(&sizes)).filter(|(_, (dim, size))| fits(dim, **size)).map(|(index, _)| index).collect()
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Left,
    Right,
}

/// Tokens masked out on the right, on the left, or an absent mask leave the real tokens' outputs as they are.
pub fn padding(subject: &Subject) -> Result<Outcome> {
    let model = subject.model()?;
    let arguments = model.arguments();
    let takes = |name: &str| arguments.iter().find(|argument| argument.name == name);
    let inputs = subject.case.inputs();
    let (Some(mask), Some(ids)) = (takes("attention_mask"), inputs.get("input_ids")) else {
        return Outcome::skipped("the class takes no token ids with an attention mask");
    };
    if scales_with_length(&subject.case.config) {
        return Outcome::skipped("positions are scaled by the length of the sequence, padding included");
    }
    let last = |name: &str| takes(name).and_then(|argument| named(argument.shape.last()?));
    let names: Vec<_> =
        [last("input_ids"), named(mask.shape.last().unwrap_or(&Dim::Any))].into_iter().flatten().collect();
    let real = match inputs.get("attention_mask") {
        Some(mask) => mask.shallow_clone(),
        None => ids.ones_like(),
    };
    let inputs = inputs.with("attention_mask", real.shallow_clone());
    let pad_id = pad_token(&subject.case.config);
    let mut comparison = Comparison::default();

    let baseline = model.forward(&inputs)?;
    let padded = pad(&inputs, arguments, &names, Side::Right, pad_id);
    comparison.absorb("right", at_real(subject, &baseline, &model.forward(&padded)?, &real, Side::Right));

    let positions = takes("position_ids").filter(|argument| argument.shape.len() == 2);
    let mut note = String::new();
    if positions.is_some() && real.dim() == 2 {
        let counted = (real.cumsum(-1, Kind::Int64) - 1).clamp_min(0);
        let inputs = inputs.clone().with_opt("position_ids", inputs.get("position_ids").or(Some(&counted)));
        let padded = pad(&inputs, arguments, &names, Side::Left, pad_id);
        let (baseline, padded) = (model.forward(&inputs)?, model.forward(&padded)?);
        comparison.absorb("left", at_real(subject, &baseline, &padded, &real, Side::Left));
    } else {
        note = "right and none only: positions cannot be given".to_owned();
    }

    let mut without = inputs.clone().with("attention_mask", real.ones_like());
    let all = model.forward(&without)?;
    without.remove("attention_mask");
    comparison.absorb("none", at_real(subject, &all, &model.forward(&without)?, &real.ones_like(), Side::Right));
    let mut outcome = Outcome::from(comparison);
    if outcome.detail.is_empty() {
        outcome.detail = note;
    }
    Ok(outcome)
}

/// Whether rotary frequencies depend on how long the sequence is, anywhere in the configuration.
fn scales_with_length(config: &Value) -> bool {
    let Value::Object(fields) = config else { return false };
    let own = |key: &str| fields.get(key).and_then(Value::as_str);
    let kind = own("rope_type").or(own("type"));
    kind.is_some_and(|kind| matches!(kind, "dynamic" | "longrope")) || fields.values().any(scales_with_length)
}

/// `pad_token_id`, or 0.
fn pad_token(config: &Value) -> i64 {
    let of = |config: &Value| config.get("pad_token_id").and_then(Value::as_i64);
    of(config).or_else(|| of(config.get("text_config")?)).filter(|id| *id >= 0).unwrap_or(0)
}

/// Adds masked tokens on one side of every argument that has tokens.
fn pad(inputs: &Inputs, arguments: &[Argument], names: &[&str], side: Side, pad_id: i64) -> Inputs {
    inputs.map(|name, tensor| {
        let dims = dims_named(arguments, name, tensor, names);
        dims.into_iter().fold(tensor.shallow_clone(), |tensor, dim| {
            let mut shape = tensor.size();
            shape[dim as usize] = ADDED;
            let value = if name == "input_ids" { pad_id } else { 0 };
            let padding = Tensor::full(&shape[..], value, (tensor.kind(), tensor.device()));
            match side {
                Side::Left => Tensor::cat(&[padding, tensor], dim),
                Side::Right => Tensor::cat(&[tensor, padding], dim),
            }
        })
    })
}

/// Compares the outputs of real tokens: in `padded`, dimension 1 of outputs per token is longer.
fn at_real(subject: &Subject, plain: &Outputs, padded: &Outputs, real: &Tensor, side: Side) -> Comparison {
    let mut comparison = Comparison::default();
    let tokens = real.size().last().copied().unwrap_or_default();
    let real = real.reshape([-1, tokens]).to_kind(Kind::Bool).to_device(subject.setting.device);
    // A class may hand its mask back, where it was given one.
    for (name, expected) in plain.iter().filter(|(name, _)| *name != "attention_mask") {
        let Some(actual) = padded.get(name) else {
            comparison.fail(name, format!("`{name}` is not produced with padding"));
            continue;
        };
        let (before, after) = (expected.size(), actual.size());
        let grown: Vec<_> = (0..before.len()).filter(|dim| after.get(*dim) != before.get(*dim)).collect();
        let per_token = grown == [1] && before[..2] == [real.size()[0], tokens] && after[1] == tokens + ADDED;
        let (actual, expected) = match per_token {
            true => {
                let start = if side == Side::Left { ADDED } else { 0 };
                let kept = |tensor: &Tensor| tensor.index(&[Some(&real)]);
                (kept(&actual.narrow(1, start, tokens)), kept(expected))
            }
            // Poolers read the first token, which is padding here.
            false if side == Side::Left => continue,
            false if grown.is_empty() && before.len() >= 2 && before[..2] == real.size() => {
                (actual.index(&[Some(&real)]), expected.index(&[Some(&real)]))
            }
            false if grown.is_empty() => (actual.shallow_clone(), expected.shallow_clone()),
            // Attention weights and the like: every token against every token.
            false => continue,
        };
        comparison.add(name, compare(name, &actual, &expected, subject.tolerance(Check::Padding, name)));
    }
    comparison
}

/// Every row alone gives what it gives in its batch.
pub fn batch(subject: &Subject) -> Result<Outcome> {
    let model = subject.model()?;
    let inputs = subject.case.inputs();
    let arguments = model.arguments();
    let rows = inputs.iter().find_map(|(name, tensor)| {
        let dim = *dims_named(arguments, name, tensor, &["batch"]).first()?;
        Some(tensor.size()[dim as usize])
    });
    let Some(rows) = rows.filter(|rows| *rows > 1) else { return Outcome::skipped("the case has one row") };
    let shared = |(name, tensor): &(&str, &Tensor)| {
        let broadcast = tensor.dim() > 0 && tensor.size()[0] == 1;
        dims_named(arguments, name, tensor, &["batch"]).is_empty() && !broadcast
    };
    if let Some((name, _)) = inputs.iter().find(shared) {
        return Outcome::skipped(format!("`{name}` does not say which of it belongs to which row"));
    }
    let together = model.forward(&inputs)?;
    let mut comparison = Comparison::default();
    for row in 0..rows {
        let alone = inputs.map(|name, tensor| {
            let dims = dims_named(arguments, name, tensor, &["batch"]);
            dims.into_iter().fold(tensor.shallow_clone(), |tensor, dim| tensor.narrow(dim, row, 1))
        });
        let alone = match model.forward(&alone) {
            Err(Error::Input { name, message }) if name.ends_with("_indices") => {
                return Outcome::skipped(format!("`{name}` counts through the rows of the batch: it {message}"));
            }
            result => result?,
        };
        let mut of_row = Comparison::default();
        for (name, expected) in together.iter() {
            let Some(actual) = alone.get(name) else {
                of_row.fail(name, format!("`{name}` is not produced for one row"));
                continue;
            };
            let (all, one) = (expected.size(), actual.size());
            let split: Vec<_> =
                (0..all.len()).filter(|dim| one.get(*dim).is_some_and(|size| *size * rows == all[*dim])).collect();
            if split.is_empty() {
                continue;
            }
            let expected = split
                .iter()
                .fold(expected.shallow_clone(), |tensor, dim| tensor.narrow(*dim as i64, row * one[*dim], one[*dim]));
            of_row.add(name, compare(name, actual, &expected, subject.tolerance(Check::Batch, name)));
        }
        comparison.absorb(&format!("row {row}"), of_row);
    }
    if comparison.worst.is_none() && comparison.passed() {
        return Outcome::skipped("no output has a row per row of the batch");
    }
    Ok(comparison.into())
}
