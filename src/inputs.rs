//! What a model is called with, and the check of it against what the model declares.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};
use tch::{Device, Kind, Tensor};

use crate::{Error, Result, weights::is_float};

/// The arguments of a forward pass under the names that `transformers` gives them.
#[derive(Debug, Default)]
pub struct Inputs {
    tensors: BTreeMap<String, Tensor>,
    flags: Map<String, Value>,
}

impl Inputs {
    /// No inputs yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the argument `name`.
    pub fn with(mut self, name: impl Into<String>, tensor: Tensor) -> Self {
        self.insert(name, tensor);
        self
    }

    /// Adds the argument `name` where there is one.
    pub fn with_opt(self, name: &str, tensor: Option<&Tensor>) -> Self {
        match tensor {
            Some(tensor) => self.with(name, tensor.shallow_clone()),
            None => self,
        }
    }

    /// Adds or replaces the argument `name`.
    pub fn insert(&mut self, name: impl Into<String>, tensor: Tensor) {
        self.tensors.insert(name.into(), tensor);
    }

    /// Takes the argument `name` out.
    pub fn remove(&mut self, name: &str) -> Option<Tensor> {
        self.tensors.remove(name)
    }

    /// Adds an argument that is no tensor, such as `output_hidden_states`.
    pub fn with_flag(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.flags.insert(name.into(), value.into());
        self
    }

    /// The tensor `name`.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// The tensor `name`, which the model cannot do without.
    pub fn need(&self, name: &str) -> Result<&Tensor> {
        self.get(name).ok_or_else(|| Error::input(name, "is missing"))
    }

    /// The argument `name` that is no tensor.
    pub fn flag(&self, name: &str) -> Option<&Value> {
        self.flags.get(name)
    }

    /// Whether the boolean argument `name` is set.
    pub fn is_set(&self, name: &str) -> bool {
        self.flags.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// Names and tensors, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// Arguments that are no tensors.
    pub fn flags(&self) -> &Map<String, Value> {
        &self.flags
    }

    /// The same arguments with each tensor replaced by what `change` makes of it.
    pub fn map(&self, mut change: impl FnMut(&str, &Tensor) -> Tensor) -> Self {
        let tensors = self.tensors.iter().map(|(name, tensor)| (name.clone(), change(name, tensor))).collect();
        Self { tensors, flags: self.flags.clone() }
    }

    /// The same arguments on `device`, floating-point ones as `kind`.
    pub fn to(&self, device: Device, kind: Kind) -> Self {
        self.map(|_, tensor| {
            let tensor = tensor.to_device(device);
            if is_float(tensor.kind()) { tensor.to_kind(kind) } else { tensor }
        })
    }
}

impl Clone for Inputs {
    fn clone(&self) -> Self {
        self.map(|_, tensor| tensor.shallow_clone())
    }
}

/// What the elements of an argument are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// Integers from 0 to below this bound: token ids, positions, classes.
    Ids(i64),
    /// 0 and 1 as integers, booleans or floats.
    Mask,
    /// Floating-point numbers.
    Float,
    /// Booleans.
    Bool,
    /// Any integers.
    Integer,
}

/// One dimension of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dim {
    /// A size shared by all dimensions of this name, at least 1.
    Named(&'static str),
    /// As [`Dim::Named`], and at most this large.
    AtMost(&'static str, i64),
    /// As [`Dim::Named`], and at least this large.
    AtLeast(&'static str, i64),
    /// This size.
    Exactly(i64),
    /// The size of this name, or 1.
    Broadcast(&'static str),
    /// Any size.
    Any,
}

/// An argument that a model's forward pass takes.
#[derive(Debug, Clone)]
pub struct Argument {
    /// The name, as in `transformers`.
    pub name: &'static str,
    /// What its elements are.
    pub values: Values,
    /// Its shape.
    pub shape: Vec<Dim>,
    /// Whether the pass cannot do without it.
    pub required: bool,
}

impl Argument {
    /// An optional argument.
    pub fn optional(name: &'static str, values: Values, shape: &[Dim]) -> Self {
        Self { name, values, shape: shape.to_vec(), required: false }
    }

    /// An argument that must be there.
    pub fn required(name: &'static str, values: Values, shape: &[Dim]) -> Self {
        Self { required: true, ..Self::optional(name, values, shape) }
    }

    /// The same argument with the size `from` called `to`, so that it may differ from other arguments' `from`.
    pub fn renamed(mut self, from: &str, to: &'static str) -> Self {
        for dim in &mut self.shape {
            match dim {
                Dim::Named(name) | Dim::AtMost(name, _) | Dim::AtLeast(name, _) | Dim::Broadcast(name)
                    if *name == from =>
                {
                    *name = to;
                }
                _ => {}
            }
        }
        self
    }
}

/// Checks `inputs` against what a model declares: names, presence, kinds, shapes, ranges.
pub fn validate(arguments: &[Argument], inputs: &Inputs) -> Result<()> {
    let mut sizes: HashMap<&str, (i64, &str)> = HashMap::new();
    for (name, tensor) in inputs.iter() {
        let Some(argument) = arguments.iter().find(|argument| argument.name == name) else {
            let known: Vec<_> = arguments.iter().map(|argument| argument.name).collect();
            return Err(Error::input(name, format!("is not an argument of this class; it takes {}", known.join(", "))));
        };
        argument.check_kind(tensor)?;
        argument.check_shape(tensor, &mut sizes)?;
        argument.check_range(tensor)?;
    }
    match arguments.iter().find(|argument| argument.required && inputs.get(argument.name).is_none()) {
        Some(argument) => {
            Err(Error::input(argument.name, format!("is missing; expected shape {}", argument.expected())))
        }
        None => Ok(()),
    }
}

/// Checks that `mask` (`[batch, tokens]`), given as `name`, covers `past` tokens and `new` ones.
///
/// # Errors
/// [`Error::Input`] with both numbers.
pub fn covers(name: &str, mask: Option<&Tensor>, past: i64, new: i64) -> Result<()> {
    match mask.map(|mask| mask.size()[1]) {
        Some(covered) if covered != past + new => {
            let message = format!("covers {covered} tokens; there are {past} in the cache and {new} new ones");
            Err(Error::input(name, message))
        }
        _ => Ok(()),
    }
}

impl Argument {
    fn check_kind(&self, tensor: &Tensor) -> Result<()> {
        let kind = tensor.kind();
        let fits = match self.values {
            Values::Ids(_) | Values::Integer => matches!(kind, Kind::Int64 | Kind::Int),
            Values::Mask => kind != Kind::ComplexFloat && kind != Kind::ComplexDouble,
            Values::Float => is_float(kind),
            Values::Bool => kind == Kind::Bool,
        };
        let wanted = match self.values {
            Values::Ids(_) | Values::Integer => "integers (int64)",
            Values::Mask => "0 and 1",
            Values::Float => "floating-point numbers",
            Values::Bool => "booleans",
        };
        if fits { Ok(()) } else { Err(Error::input(self.name, format!("expected {wanted}, got {kind:?}"))) }
    }

    fn check_shape<'a>(&'a self, tensor: &Tensor, sizes: &mut HashMap<&'a str, (i64, &'a str)>) -> Result<()> {
        let shape = tensor.size();
        let wrong =
            |why: String| Error::input(self.name, format!("has shape {shape:?}, expected {}: {why}", self.expected()));
        if shape.len() != self.shape.len() {
            return Err(wrong(format!("{} dimensions instead of {}", shape.len(), self.shape.len())));
        }
        for (dim, size) in std::iter::zip(&self.shape, &shape) {
            let (name, low, high) = match dim {
                Dim::Any => continue,
                Dim::Broadcast(_) if *size == 1 => continue,
                Dim::Exactly(exact) if exact == size => continue,
                Dim::Exactly(exact) => return Err(wrong(format!("size {size} instead of {exact}"))),
                Dim::Named(name) | Dim::Broadcast(name) => (name, 1, i64::MAX),
                Dim::AtMost(name, high) => (name, 1, *high),
                Dim::AtLeast(name, low) => (name, *low, i64::MAX),
            };
            if *size < 1 {
                return Err(wrong(format!("`{name}` is empty")));
            }
            if *size < low {
                return Err(wrong(format!("`{name}` is {size}, the model needs at least {low}")));
            }
            if *size > high {
                return Err(wrong(format!("`{name}` is {size}, the model takes at most {high}")));
            }
            let (expected, by) = *sizes.entry(name).or_insert((*size, self.name));
            if expected != *size {
                return Err(wrong(format!("`{name}` is {size} here and {expected} in `{by}`")));
            }
        }
        Ok(())
    }

    fn check_range(&self, tensor: &Tensor) -> Result<()> {
        let Values::Ids(below) = self.values else { return Ok(()) };
        if below == i64::MAX || tensor.numel() == 0 {
            return Ok(());
        }
        let (low, high) = tensor.aminmax(None::<i64>, false);
        let (low, high) = (low.int64_value(&[]), high.int64_value(&[]));
        if low < 0 || high >= below {
            let worst = if low < 0 { low } else { high };
            return Err(Error::input(self.name, format!("holds {worst}; values must be from 0 to {}", below - 1)));
        }
        Ok(())
    }

    fn expected(&self) -> String {
        let dims = self.shape.iter().map(|dim| match dim {
            Dim::Named(name) => (*name).to_owned(),
            Dim::Broadcast(name) => format!("{name} or 1"),
            Dim::AtMost(name, high) => format!("{name} <= {high}"),
            Dim::AtLeast(name, low) => format!("{name} >= {low}"),
            Dim::Exactly(exact) => exact.to_string(),
            Dim::Any => "any".to_owned(),
        });
        format!("[{}]", dims.collect::<Vec<_>>().join(", "))
    }
}
